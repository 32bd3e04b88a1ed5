/* The last place in which a key stays behind: the vector registers of the thread that handled it. */
#ifndef COFFER_CRYPTO_REGISTERS_H
#define COFFER_CRYPTO_REGISTERS_H

/* Zeroes the calling thread's vector registers, through which keys are copied and decrypted. A thread that goes on to
 * other work overwrites them by itself; one that goes to sleep keeps them, and a core shows them. */
void registers_cleanse(void);

#endif
