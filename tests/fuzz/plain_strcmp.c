/*
 * With COFFER_FUZZ_COMPARISONS off: in the place of AddressSanitizer's, which tells libFuzzer of each comparison wherever it is
 * made; OpenSSL looks parameters up by name, which was a fifth of what a stream cost. What it reads is checked all the same.
 */
#include <string.h>

int strcmp(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}
