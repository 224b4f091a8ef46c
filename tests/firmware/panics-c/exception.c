/* A store to an invalid address three calls deep, reported in ESP-IDF's format with the stack. */
#include "board.h"

static uint32_t *volatile place = (uint32_t *)0x10;

__attribute__((noinline)) static uint32_t store(uint32_t value) {
    *place = value;
    return value + 1;
}

__attribute__((noinline)) static uint32_t settle(uint32_t value) {
    return store(value) * 3;
}

int main(void) {
    install_trap();
    print("before\n");
    print_hex(settle(7));
    return 0;
}

void trap(struct frame *frame) {
    print("Guru Meditation Error: Core  0 panic'ed (Store access fault). Exception was unhandled.\n\n");
    print_dump(frame);
    print("Rebooting...\n");
    stop();
}
