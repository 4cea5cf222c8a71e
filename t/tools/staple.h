/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_STAPLE_H
#define STAPLE_T_STAPLE_H

/*
 * What the clients among the tools think of a staple.
 */

#include <openssl/x509.h>

#define VERDICT_LEN 256

/*
 * Judge the bytes of a staple for the chain that came with it, the leaf first.
 * The verdict, of VERDICT_LEN bytes, becomes "good", "revoked", "unknown", or
 * "bad: ..." (a staple that must not be).
 */
void staple_judge(const unsigned char *der, long len, STACK_OF(X509) *chain,
                  X509_STORE *store, char *verdict);

#endif /* STAPLE_T_STAPLE_H */
