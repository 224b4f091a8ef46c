/* bcryptprimitives.dll, for a Wine that has none: Rust's standard library takes its random numbers from it. */
#include <windows.h>

/* RtlGenRandom by its exported name. */
BOOLEAN NTAPI SystemFunction036(void *buffer, ULONG len);

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *buffer, SIZE_T len)
{
    while (len > 0) {
        ULONG part = len > 0x10000 ? 0x10000 : (ULONG)len;
        if (!SystemFunction036(buffer, part)) return FALSE;
        buffer += part;
        len -= part;
    }
    return TRUE;
}
