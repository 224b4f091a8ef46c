/* Functions shared by the programs here: see board.c. */
#pragma once

#include <stdint.h>

/* The individual program. */
int main(void);

/* Installs trap() as the exception handler. */
void install_trap(void);

/* Exception handler, with the saved registers. Each program that installs it defines one. */
struct frame;
void trap(struct frame *frame) __attribute__((noreturn));

void print(const char *text);
void print_hex(uint32_t value);

/* Prints "Core  0 register dump:" and all that follows, as ESP-IDF does. */
void print_dump(const struct frame *frame);

/* Prints a core dump as ESP-IDF writes it over the UART. */
void print_core_dump(const struct frame *frame);

void stop(void) __attribute__((noreturn));

/* Registers saved on trap entry: program counter, x1 to x31, then the exception's registers.
 * Source: ESP-IDF 5.5, components/riscv/include/riscv/rvruntime-frames.h, RvExcFrame. */
struct frame {
    uint32_t mepc, x[31];
    uint32_t mstatus, mtvec, mcause, mtval, mhartid;
};
