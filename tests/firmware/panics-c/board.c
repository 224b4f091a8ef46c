/* Start-up, exceptions and the UART of a bare ESP32-C3, and the output of ESP-IDF's panic handler,
 * reimplemented in its formats.
 *
 * Sources: ESP-IDF 5.5, components/esp_system/panic.c and port/arch/riscv/panic_arch.c (texts and order),
 * components/espcoredump/src/core_dump_uart.c and core_dump_binary.c (the core dump). */
#include "board.h"

#include <stddef.h>

/* ESP32-C3 TRM, UART Controller: UART_FIFO_REG, UART_STATUS_REG with UART_TXFIFO_CNT in bits 16 to 25. */
#define UART_FIFO (*(volatile uint32_t *)0x60000000)
#define UART_STATUS (*(volatile uint32_t *)0x6000001c)
#define UART_FIFO_LEN 128

extern uint32_t _bss_start[], _bss_end[], _stack_top[];

__attribute__((naked, used, section(".init"))) void _start(void) {
    __asm__(".option push\n.option norelax\n"
            ".cfi_undefined ra\n"
            "la sp, _stack_top\n"
            ".option pop\n"
            "li ra, 0\n"
            "call begin\n");
}

/* ESP-IDF 5.5, components/esp_hw_support/cpu_region_protect.c (esp32c3): no access is allowed below the data bus's
 * addresses. Without this entry, an access there has no effect and raises no exception. Privileged specification, "Physical
 * Memory Protection CSRs": locked, top of range, no permission. */
static void protect_memory(void) {
    __asm__ volatile("csrw pmpaddr0, %0\n\tcsrw pmpcfg0, %1" ::"r"(0x3c000000u >> 2), "r"(0x88));
}

__attribute__((used, noreturn)) static void begin(void) {
    for (uint32_t *word = _bss_start; word != _bss_end; word++) {
        *word = 0;
    }
    protect_memory();
    main();
    stop();
}

/* Saves the registers to the interrupted stack, as _panic_handler in ESP-IDF's vectors.S does. */
__attribute__((naked, used, aligned(256))) static void trap_entry(void) {
    __asm__("addi sp, sp, -160\n"
            "sw ra, 4(sp)\n"
            "addi ra, sp, 160\nsw ra, 8(sp)\n"
            "sw gp, 12(sp)\nsw tp, 16(sp)\nsw t0, 20(sp)\nsw t1, 24(sp)\nsw t2, 28(sp)\n"
            "sw s0, 32(sp)\nsw s1, 36(sp)\nsw a0, 40(sp)\nsw a1, 44(sp)\nsw a2, 48(sp)\n"
            "sw a3, 52(sp)\nsw a4, 56(sp)\nsw a5, 60(sp)\nsw a6, 64(sp)\nsw a7, 68(sp)\n"
            "sw s2, 72(sp)\nsw s3, 76(sp)\nsw s4, 80(sp)\nsw s5, 84(sp)\nsw s6, 88(sp)\n"
            "sw s7, 92(sp)\nsw s8, 96(sp)\nsw s9, 100(sp)\nsw s10, 104(sp)\nsw s11, 108(sp)\n"
            "sw t3, 112(sp)\nsw t4, 116(sp)\nsw t5, 120(sp)\nsw t6, 124(sp)\n"
            "csrr t0, mepc\nsw t0, 0(sp)\n"
            "csrr t0, mstatus\nsw t0, 128(sp)\n"
            "csrr t0, mtvec\nsw t0, 132(sp)\n"
            "csrr t0, mcause\nsw t0, 136(sp)\n"
            "csrr t0, mtval\nsw t0, 140(sp)\n"
            "csrr t0, mhartid\nsw t0, 144(sp)\n"
            "mv a0, sp\n"
            "call trap\n");
}

/* Default for programs that do not install exceptions. */
__attribute__((weak, noreturn)) void trap(struct frame *frame) {
    (void)frame;
    stop();
}

void install_trap(void) {
    /* The chip's vectors are always a table of jumps, and exceptions take the first entry. The
     * handler itself is placed there, so interrupts, which nothing enables, must not occur. */
    __asm__ volatile("csrw mtvec, %0" ::"r"((uintptr_t)trap_entry | 1));
}

void stop(void) {
    for (;;) {
    }
}

static void put(char byte) {
    while ((UART_STATUS >> 16 & 0x3ff) >= UART_FIFO_LEN - 1) {
    }
    UART_FIFO = (uint8_t)byte;
}

void print(const char *text) {
    for (; *text; text++) {
        if (*text == '\n') {
            put('\r');
        }
        put(*text);
    }
}

static void print_digits(uint32_t value) {
    for (int shift = 28; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[value >> shift & 15]);
    }
}

void print_hex(uint32_t value) {
    print("0x");
    print_digits(value);
}

static const char *const NAMES[] = {
    "MEPC    ", "RA      ", "SP      ", "GP      ", "TP      ", "T0      ", "T1      ", "T2      ", "S0/FP   ",
    "S1      ", "A0      ", "A1      ", "A2      ", "A3      ", "A4      ", "A5      ", "A6      ", "A7      ",
    "S2      ", "S3      ", "S4      ", "S5      ", "S6      ", "S7      ", "S8      ", "S9      ", "S10     ",
    "S11     ", "T3      ", "T4      ", "T5      ", "T6      ", "MSTATUS ", "MTVEC   ", "MCAUSE  ", "MTVAL   ",
    "MHARTID ",
};

void print_dump(const struct frame *frame) {
    const uint32_t *words = &frame->mepc;
    print("Core  0 register dump:");
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        print(i % 4 ? "  " : "\n");
        print(NAMES[i]);
        print(": ");
        print_hex(words[i]);
    }
    print("\n\nStack memory:\n");
    /* 1024 bytes, or up to the end of the stack. */
    const uint32_t *word = (const uint32_t *)frame->x[1];
    for (int line = 0; line < 32 && word < _stack_top; line++) {
        print_digits((uint32_t)word);
        print(":");
        for (int i = 0; i < 8 && word < _stack_top; i++) {
            print(" ");
            print_hex(*word++);
        }
        print("\n");
    }
    print("\n\n\n");
}

/* Sends the bytes of a core dump: base64, 48 bytes per line, with the CRC-32 of all. */
static struct {
    uint8_t held[3];
    uint32_t count, crc;
} dump;

static void dump_byte(uint8_t byte) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    dump.crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        dump.crc = dump.crc >> 1 ^ (dump.crc & 1 ? 0xedb88320 : 0);
    }
    dump.held[dump.count++ % 3] = byte;
    if (dump.count % 3 == 0) {
        uint32_t bits = (uint32_t)dump.held[0] << 16 | dump.held[1] << 8 | dump.held[2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            put(DIGITS[bits >> shift & 63]);
        }
    }
    if (dump.count % 48 == 0) {
        print("\n");
    }
}

static void dump_words(const uint32_t *words, size_t count) {
    for (; count; words++, count--) {
        for (int shift = 0; shift < 32; shift += 8) {
            dump_byte(*words >> shift);
        }
    }
}

/* A task control block of FreeRTOS, with the fields that a reader of dumps uses. Source: FreeRTOS, tasks.c:
 * pxTopOfStack, two list items of 20 bytes, priority and stack precede the name. */
static const struct {
    uint32_t top, items[10], priority, stack;
    char name[16];
} block = {.priority = 1, .name = "main"};

void print_core_dump(const struct frame *frame) {
    /* Version 3 of the binary layout, chip 5, the ESP32-C3; the revision as in an image header. */
    const uint32_t version = 5 << 16 | 3, revision = 4;
    const uint32_t *start = &frame->mepc;
    const uint32_t stack_len = (_stack_top - start) * 4;
    const uint32_t header[] = {6 * 4 + 3 * 4 + sizeof block + stack_len + 4, version, 1, sizeof block, 0, revision};
    const uint32_t task[] = {(uint32_t)&block, (uint32_t)start, (uint32_t)_stack_top};
    dump.count = 0;
    dump.crc = ~0;
    print("================= CORE DUMP START =================\n");
    dump_words(header, sizeof header / 4);
    dump_words(task, sizeof task / 4);
    dump_words((const uint32_t *)&block, sizeof block / 4);
    dump_words(start, stack_len / 4);
    uint32_t crc = ~dump.crc;
    dump_words(&crc, 1);
    /* The padding of the last group of three is cut off by the length in the header. */
    while (dump.count % 3) {
        dump_byte(0);
    }
    print("\n================= CORE DUMP END =================\n");
}
