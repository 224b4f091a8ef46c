/* What the programs here share: see board.c. */
#pragma once

#include <stdint.h>

/* The program of its own. */
int main(void);

/* Has exceptions lead to trap(). */
void install_trap(void);

/* What an exception calls, with the registers that it found. Each program that installs it has one. */
struct frame;
void trap(struct frame *frame) __attribute__((noreturn));

void print(const char *text);
void print_hex(uint32_t value);

/* "Core  0 register dump:" and all below it, as ESP-IDF prints it. */
void print_dump(const struct frame *frame);

/* A core dump as ESP-IDF writes it over the UART. */
void print_core_dump(const struct frame *frame);

void stop(void) __attribute__((noreturn));

/* What the trap's entry has saved: program counter, x1 to x31, then what tells of the exception.
 * Source: ESP-IDF 5.5, components/riscv/include/riscv/rvruntime-frames.h, RvExcFrame. */
struct frame {
    uint32_t mepc, x[31];
    uint32_t mstatus, mtvec, mcause, mtval, mhartid;
};
