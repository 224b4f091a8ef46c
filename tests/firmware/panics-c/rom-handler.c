/* A load from nowhere before exceptions lead to the program: the mask ROM's own handler tells of it. */
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
