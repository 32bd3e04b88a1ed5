/*
 * coffer: the start of the process. The arena comes first, before OpenSSL allocates anything (crypto/arena.h). Only
 * the locale's character set is taken over: numbers look the same everywhere.
 */
#include <locale.h>
#include <stdio.h>

#include "crypto/arena.h"
#include "tools/tool.h"

int main(int argc, char **argv)
{
    enum error error = arena_start();
    if (error != ERROR_NONE) {
        fprintf(stderr, "coffer: %s\n", error_sentence(error));
        return EXIT_FAILED;
    }
    setlocale(LC_CTYPE, "");
    return tool_run(argc, argv, stdout, stderr);
}
