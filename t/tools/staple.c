/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A staple judged as a strict client does it: parsed to its last byte, signed
 * by the issuer or its delegate, about this very certificate, and current. And
 * the command line that the clients have.
 */

#include "staple.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/ocsp.h>

#define SKEW 300 /* by so many seconds may thisUpdate lie ahead */

__attribute__((format(printf, 2, 3)))
static void say(char *verdict, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(verdict, VERDICT_LEN, fmt, ap);
    va_end(ap);
}

/* The answer about this certificate, whichever hash its CertID has. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, X509 *leaf,
                                    X509 *issuer)
{
    const EVP_MD *hashes[] = { EVP_sha1(), EVP_sha256() };
    OCSP_SINGLERESP *single = NULL;
    unsigned i;

    for (i = 0; i < 2 && !single; i++) {
        OCSP_CERTID *id = OCSP_cert_to_id(hashes[i], leaf, issuer);
        int at = OCSP_resp_find(basic, id, -1);

        single = at < 0 ? NULL : OCSP_resp_get0(basic, at);
        OCSP_CERTID_free(id);
    }
    return single;
}

static void judge_single(char *verdict, OCSP_SINGLERESP *single)
{
    static const char *const words[] = { "good", "revoked", "unknown" };
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    time_t now = time(NULL), soon = now + SKEW;
    int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);

    if (!from || ASN1_TIME_cmp_time_t(from, soon) >= 0) {
        say(verdict, "bad: not valid yet");
    }
    else if (until && ASN1_TIME_cmp_time_t(until, now) <= 0) {
        say(verdict, "bad: not valid any more");
    }
    else if (status < 0 || status > 2) {
        say(verdict, "bad: status %d", status);
    }
    else {
        say(verdict, "%s", words[status]);
    }
}

static void judge_basic(char *verdict, OCSP_BASICRESP *basic,
                        STACK_OF(X509) *chain, X509_STORE *store)
{
    X509 *leaf = sk_X509_value(chain, 0);
    X509 *issuer = sk_X509_num(chain) > 1 ? sk_X509_value(chain, 1) : leaf;
    OCSP_SINGLERESP *single;

    if (OCSP_basic_verify(basic, chain, store, 0) <= 0) {
        say(verdict, "bad: signature");
        return;
    }
    single = find_single(basic, leaf, issuer);
    if (!single) {
        say(verdict, "bad: about another certificate");
        return;
    }
    judge_single(verdict, single);
}

void staple_judge(const unsigned char *der, long len, STACK_OF(X509) *chain,
                  X509_STORE *store, char *verdict)
{
    const unsigned char *p = der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, len);
    OCSP_BASICRESP *basic;

    if (!response || p != der + len) {
        say(verdict, "bad: %ld bytes that are no response", len);
    }
    else if (OCSP_response_status(response)) {
        say(verdict, "bad: error status %d", OCSP_response_status(response));
    }
    else if (!(basic = OCSP_response_get1_basic(response))) {
        say(verdict, "bad: no basic response");
    }
    else {
        judge_basic(verdict, basic, chain, store);
        OCSP_BASICRESP_free(basic);
    }
    OCSP_RESPONSE_free(response);
}

int staple_options(int argc, char **argv, const char *flag,
                   int (*set)(const char *key, const char *value),
                   const char **ca)
{
    int i;

    *ca = NULL;
    for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
        const char *key = argv[i] + 2;
        const char *value = strcmp(key, flag) ? argv[++i] : NULL;

        if (i == argc) { /* argv ends with NULL */
            return -1;
        }
        if (!strcmp(key, "ca")) {
            *ca = value;
        }
        else if (!set(key, value)) {
            return -1;
        }
    }
    return i;
}
