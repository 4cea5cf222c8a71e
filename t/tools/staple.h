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

/*
 * Read "--KEY VALUE ... NAME ...". An option of the name `flag` has no value.
 * @param set called for each option, NULL as the flag's value; false: it knows
 *        none of that name
 * @param ca set to the value of --ca; NULL: there is none
 * @return the index of the first name; -1: an option is not known or has no
 *         value
 */
int staple_options(int argc, char **argv, const char *flag,
                   int (*set)(const char *key, const char *value),
                   const char **ca);

#endif /* STAPLE_T_STAPLE_H */
