/* A load from an invalid address before the program handles exceptions: the mask ROM's handler reports it. */
#include "board.h"

static volatile uint32_t *volatile place = (volatile uint32_t *)0x10;

__attribute__((noinline)) static uint32_t load(void) {
    return *place + 1;
}

int main(void) {
    print("before\n");
    print_hex(load());
    return 0;
}
