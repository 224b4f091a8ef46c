/* A jump to an invalid address, reported as a core dump over the UART. */
#include "board.h"

typedef uint32_t (*function)(uint32_t);

static volatile function nowhere = (function)0x20;

__attribute__((noinline)) static uint32_t call(uint32_t value) {
    return nowhere(value) + 1;
}

__attribute__((noinline)) static uint32_t twice(uint32_t value) {
    return call(value) * 2;
}

int main(void) {
    install_trap();
    print("before\n");
    print_hex(twice(7));
    return 0;
}

void trap(struct frame *frame) {
    print("Guru Meditation Error: Core  0 panic'ed (Instruction access fault). Exception was unhandled.\n\n");
    print_dump(frame);
    print_core_dump(frame);
    print("Rebooting...\n");
    stop();
}
