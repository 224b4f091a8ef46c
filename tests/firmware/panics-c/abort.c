/* abort() in ESP-IDF's format, called by a check that failed. */
#include "board.h"

static uint32_t caller;

/* Like ESP-IDF's panic_abort: an illegal instruction that the panic handler recognises. */
__attribute__((noinline, noreturn)) static void give_up(void) {
    caller = (uint32_t)__builtin_return_address(0);
    __asm__ volatile("unimp");
    stop();
}

__attribute__((noinline)) static void check(uint32_t value) {
    if (value != 4) {
        give_up();
    }
    print("fine\n");
}

int main(void) {
    install_trap();
    print("before\n");
    check(*(volatile uint32_t *)&(uint32_t){5});
    return 0;
}

void trap(struct frame *frame) {
    print("\nabort() was called at PC ");
    print_hex(caller);
    print(" on core 0\n");
    print_dump(frame);
    print("Rebooting...\n");
    stop();
}
