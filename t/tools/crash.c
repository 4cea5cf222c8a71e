/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For LD_PRELOAD, in httpd: OpenSSL with a fault. Whoever parses an OCSP
 * response that contains certain bytes dies of SIGSEGV, as if a decoder had
 * been led astray by them. The bytes stand in the file STAPLE_CRASH_ON; where
 * it is missing or empty, nothing happens.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memmem, RTLD_NEXT */
#endif

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ocsp.h>

#define BYTES_MAX 64

static size_t read_bytes(unsigned char bytes[BYTES_MAX])
{
    const char *path = getenv("STAPLE_CRASH_ON");
    FILE *in = path ? fopen(path, "rb") : NULL;
    size_t count = 0;

    if (in) {
        count = fread(bytes, 1, BYTES_MAX, in);
        fclose(in);
    }
    return count;
}

OCSP_RESPONSE *d2i_OCSP_RESPONSE(OCSP_RESPONSE **response,
                                 const unsigned char **der, long len)
{
    OCSP_RESPONSE *(*real)(OCSP_RESPONSE **, const unsigned char **, long)
        = (__typeof__(&d2i_OCSP_RESPONSE))dlsym(RTLD_NEXT,
                                                "d2i_OCSP_RESPONSE");
    unsigned char bytes[BYTES_MAX];
    size_t count = read_bytes(bytes);

    if (count && memmem(*der, (size_t)len, bytes, count)) {
        raise(SIGSEGV);
    }
    return real(response, der, len);
}
