/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Judges the public vectors of t/vectors, each at the moment that its line of
 * the table names, and compares the verdict with the table: with what we say,
 * and with what the vector's source says. A line in which the two differ has
 * to say why.
 */

#include "staple_ocsp.h"
#include "tap.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

enum column { RESPONSE, LEAF, ISSUER, MOMENT, SOURCE, OURS, WHY, COLUMNS };

#define RESPONSE_MAX (64 * 1024)

/* What the table calls a reason. */
static const struct {
    staple_ocsp_reason_e reason;
    const char *name;
} reasons[] = {
    { STAPLE_OCSP_NOT_DER, "not DER" },
    { STAPLE_OCSP_TRAILING, "trailing" },
    { STAPLE_OCSP_MALFORMED_REQUEST, "malformed request" },
    { STAPLE_OCSP_UNAUTHORIZED, "unauthorized" },
    { STAPLE_OCSP_STATUS_OTHER, "other status" },
    { STAPLE_OCSP_NOT_BASIC, "not basic" },
    { STAPLE_OCSP_CRITICAL_EXT, "critical extension" },
    { STAPLE_OCSP_OTHER_CERT, "other certificate" },
    { STAPLE_OCSP_NO_SIGNER, "no signer" },
    { STAPLE_OCSP_WEAK_SIGNATURE, "weak signature" },
    { STAPLE_OCSP_BAD_SIGNATURE, "bad signature" },
    { STAPLE_OCSP_SIGNER_NOT_ISSUED, "signer not issued" },
    { STAPLE_OCSP_SIGNER_NO_EKU, "signer without EKU" },
    { STAPLE_OCSP_SIGNER_EXPIRED, "signer expired" },
    { STAPLE_OCSP_BAD_TIMES, "bad times" },
    { STAPLE_OCSP_NOT_YET_VALID, "not yet" },
    { STAPLE_OCSP_EXPIRED, "expired" }
};

static apr_pool_t *pool;
static const char *folder;

static const char *in_folder(const char *name)
{
    return apr_pstrcat(pool, folder, "/", name, NULL);
}

/* The bytes of a file; len -1: there is none. */
static char *read_file(const char *name, int *len)
{
    char *data = apr_palloc(pool, RESPONSE_MAX);
    FILE *file = fopen(in_folder(name), "rb");

    *len = -1;
    if (file) {
        *len = (int)fread(data, 1, RESPONSE_MAX, file);
        fclose(file);
    }
    return data;
}

static unsigned char *decode_base64(const char *text, int *len)
{
    unsigned char *data = apr_palloc(pool, (apr_size_t)*len);
    EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    int got = 0, rest = 0;

    EVP_DecodeInit(ctx);
    if (EVP_DecodeUpdate(ctx, data, &got, (const unsigned char *)text, *len)
        < 0 || EVP_DecodeFinal(ctx, data + got, &rest) < 0) {
        got = rest = -1;
    }
    EVP_ENCODE_CTX_free(ctx);
    *len = got + rest;
    return data;
}

static unsigned char *read_response(const char *name, int *len)
{
    char *data = read_file(name, len);

    return *len > 0 && strstr(name, ".ors") ? decode_base64(data, len)
                                            : (unsigned char *)data;
}

static X509 *read_cert(const char *name)
{
    FILE *file = fopen(in_folder(name), "r");
    X509 *cert = NULL;

    if (file) {
        cert = PEM_read_X509(file, NULL, NULL, NULL);
        fclose(file);
    }
    return cert;
}

/* A certificate of which only the issuer's name and the serial number count:
 * the rest is the issuer's own. */
static X509 *make_leaf(const char *serial, X509 *issuer)
{
    X509 *leaf = X509_dup(issuer);
    BIGNUM *number = NULL;

    BN_hex2bn(&number, serial);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(leaf));
    X509_set_issuer_name(leaf, X509_get_subject_name(issuer));
    i2d_re_X509_tbs(leaf, NULL); /* so that it is encoded anew */
    BN_free(number);
    return leaf;
}

static X509 *leaf_of(const char *what, X509 *issuer)
{
    return *what == '=' ? make_leaf(what + 1, issuer) : read_cert(what);
}

static apr_time_t moment_of(const char *text)
{
    struct tm tm = { 0 };

    if (sscanf(text, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon,
               &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6) {
        return 0;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return apr_time_from_sec(timegm(&tm));
}

static const char *reason_name(staple_ocsp_reason_e reason)
{
    apr_size_t i;

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].reason == reason) {
            return reasons[i].name;
        }
    }
    return staple_ocsp_reason_text(reason);
}

/* A status, or the name of a reason. An issuer that cannot be the leaf's is
 * known before anything is asked. */
static const char *judge(char *const *row, X509 *leaf, X509 *issuer)
{
    static const staple_ocsp_policy_t policy = {
        .skew = APR_TIME_C(300) * APR_USEC_PER_SEC, .max_age = -1,
        .default_age = APR_TIME_C(3600) * APR_USEC_PER_SEC
    };
    staple_ocsp_subject_t *subject;
    staple_ocsp_verdict_t verdict;
    unsigned char *der;
    int len;

    if (subject_of(&subject, leaf, issuer, pool)) {
        return "other certificate";
    }
    der = read_response(row[RESPONSE], &len);
    if (len < 0) {
        return "no such file, or not base64";
    }
    staple_ocsp_judge(&verdict, subject, &policy, moment_of(row[MOMENT]), der,
                      (apr_size_t)len);
    return verdict.reason == STAPLE_OCSP_OK
           ? staple_ocsp_status_text(verdict.status)
           : reason_name(verdict.reason);
}

static int is_status(const char *verdict)
{
    return !strcmp(verdict, "good") || !strcmp(verdict, "revoked")
           || !strcmp(verdict, "unknown");
}

/* Whether a verdict of ours is what the source says; "parses" is none. */
static int agrees(const char *source, const char *ours)
{
    return !strcmp(source, "parses")
           || is_status(ours) == !strcmp(source, "accepts");
}

static void test_row(char *const *row)
{
    X509 *issuer = read_cert(row[ISSUER]);
    X509 *leaf = issuer ? leaf_of(row[LEAF], issuer) : NULL;
    const char *got = leaf ? judge(row, leaf, issuer) : "no such certificate";
    const char *what = apr_pstrcat(pool, row[RESPONSE], " for ", row[LEAF],
                                   " of ", row[ISSUER], NULL);

    if (!strcmp(got, "weak signature") && strcmp(got, row[OURS])) {
        ok(1, "# SKIP this OpenSSL does not verify it: %s", what);
    }
    else {
        is_str(got, row[OURS], what);
    }
    ok(agrees(row[SOURCE], row[OURS]) || strcmp(row[WHY], "-"),
       "... the source %s, or the table says why we do not agree",
       row[SOURCE]);
    X509_free(leaf);
    X509_free(issuer);
}

/* Cut at " | "; returns how many columns there are. */
static int cut(char *line, char **row)
{
    int count = 0;

    line[strcspn(line, "\n")] = '\0';
    while (line && count < COLUMNS) {
        char *bar = strstr(line, " | ");

        if (bar) {
            *bar = '\0';
            bar += 3;
        }
        row[count++] = line;
        line = bar;
    }
    return count;
}

int main(void)
{
    const char *top = getenv("STAPLE_SRCDIR");
    char line[1024], *row[COLUMNS];
    FILE *table;
    int columns, rows = 0;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    folder = apr_pstrcat(pool, top ? top : ".", "/t/vectors", NULL);
    table = fopen(in_folder("table"), "r");
    while (table && fgets(line, sizeof(line), table)) {
        if (*line == '#' || *line == '\n') {
            continue;
        }
        columns = cut(line, row);
        if (columns != COLUMNS) {
            ok(0, "a line of the table has %d columns: %s", columns, row[0]);
            continue;
        }
        test_row(row);
        rows++;
    }
    ok(rows > 70, "the table was found");
    if (table) {
        fclose(table);
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
