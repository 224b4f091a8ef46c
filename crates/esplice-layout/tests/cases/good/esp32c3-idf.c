/* Memory layout for ESP32-C3, written by esplice; changes here are lost.
 * Keeps ESP-IDF's heap off the ranges. */
#include "heap_memory_layout.h"

/* A linker option requires this symbol, so that the file is linked. */
void esplice_layout_linked(void) {}

/* esplice.toml:9 */
SOC_RESERVE_MEMORY_REGION(0x3fcda000, 0x3fcde000, esplice_arena_dma);

/* esplice.toml:5 */
SOC_RESERVE_MEMORY_REGION(0x3fcc6400, 0x3fcce400, esplice_heap);

/* esplice.toml:15 */
SOC_RESERVE_MEMORY_REGION(0x3fcde000, 0x3fcde400, esplice_reserved_crash);
