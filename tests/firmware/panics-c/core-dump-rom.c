/* Passes an invalid string to the mask ROM's ets_printf: the core dump is of a crash within it. */
#include "board.h"

/* Source: ESP-IDF 5.5, components/esp_rom/esp32c3/ld/esp32c3.rom.ld. */
#define ets_printf ((int (*)(const char *, ...))0x40000040)

static const char *volatile text = (const char *)0x10;

__attribute__((noinline)) static int tell(const char *what) {
    return ets_printf("the text is %s\n", what) + 1;
}

int main(void) {
    install_trap();
    print("before\n");
    return tell(text) + 1;
}

void trap(struct frame *frame) {
    print("\nGuru Meditation Error: Core  0 panic'ed (Load access fault). Exception was unhandled.\n\n");
    print_dump(frame);
    print_core_dump(frame);
    print("Rebooting...\n");
    stop();
}
