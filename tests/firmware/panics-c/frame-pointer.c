/* Functions with frame pointers, one with an array of variable length. The last one overwrites the frame
   pointer without saving it, as a function that never returns may do. */
#include "board.h"

__attribute__((naked, noinline, noreturn)) static void die(void) {
    __asm__ volatile("li s0, 0x10\n\tsw zero, 0(s0)\n\tj .");
}

__attribute__((noinline)) static uint32_t check(volatile uint32_t *values) {
    if (values[0] == 7) {
        die();
    }
    return values[0];
}

__attribute__((noinline)) static uint32_t fill(uint32_t count) {
    volatile uint32_t values[count];
    for (uint32_t at = 0; at < count; at++) {
        values[at] = count;
    }
    return check(values) + values[count - 1];
}

int main(void) {
    install_trap();
    print("before\n");
    print_hex(fill(*(volatile uint32_t *)&(uint32_t){7}));
    return 0;
}

void trap(struct frame *frame) {
    print("Guru Meditation Error: Core  0 panic'ed (Store access fault). Exception was unhandled.\n\n");
    print_dump(frame);
    print("Rebooting...\n");
    stop();
}
