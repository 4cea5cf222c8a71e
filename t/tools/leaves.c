/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Many certificates of one issuer and with one key, made by one process: where
 * a test needs thousands, starting the openssl command for each takes minutes.
 *
 *   leaves ISSUER ISSUER-KEY KEY URL DIRECTORY SERIAL COUNT
 *
 * Certificate N of COUNT is for hostN.test, has the serial SERIAL + N - 1, and
 * goes into DIRECTORY/hostN.test.pem with the issuer's after it. As those of
 * any public CA it says which key of its issuer has signed it.
 */

#include <stdio.h>
#include <stdlib.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>

#include <openssl/pem.h>

#include "../unit/pki.h"

#define DAY 86400

static apr_pool_t *pool;

__attribute__((noreturn))
static void fail(const char *what, const char *about)
{
    fprintf(stderr, "leaves: cannot %s %s\n", what, about);
    exit(1);
}

static FILE *open_or_fail(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    if (!file) {
        fail("open", path);
    }
    return file;
}

static X509 *read_cert(const char *path)
{
    FILE *file = open_or_fail(path, "r");
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);

    fclose(file);
    if (!cert) {
        fail("read a certificate from", path);
    }
    return cert;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *file = open_or_fail(path, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);

    fclose(file);
    if (!key) {
        fail("read a key from", path);
    }
    return key;
}

/* @param want what all have in common, and the serial of this one */
static void make_leaf(pki_want_t want, long number, const char *url,
                      const char *directory, apr_pool_t *p)
{
    const char *name = apr_psprintf(p, "host%ld.test", number);
    const char *path = apr_psprintf(p, "%s/%s.pem", directory, name);
    FILE *file = open_or_fail(path, "w");
    pki_id_t leaf;

    want.name = name;
    want.from = pki_time(apr_time_now() - apr_time_from_sec(DAY), p);
    want.until = pki_time(apr_time_now() + apr_time_from_sec(90 * DAY), p);
    want.extensions[5] = apr_pstrcat(p, "DNS:", name, NULL);
    want.extensions[7] = apr_pstrcat(p, "OCSP;URI:", url, NULL);
    leaf = pki_make(&want, p);
    if (!PEM_write_X509(file, leaf.cert)
        || !PEM_write_X509(file, want.issuer->cert) || fclose(file)) {
        fail("write", path);
    }
}

int main(int argc, char **argv)
{
    pki_id_t issuer, key_of = { NULL, NULL };
    pki_want_t want = {
        .issuer = &issuer, .key_of = &key_of,
        .extensions = { "basicConstraints", "CA:FALSE",
                        "extendedKeyUsage", "serverAuth",
                        "subjectAltName", "", "authorityInfoAccess", "",
                        "authorityKeyIdentifier", "keyid" }
    };
    apr_pool_t *p;
    long i;

    if (argc != 8) {
        fprintf(stderr, "usage: leaves ISSUER ISSUER-KEY KEY URL DIRECTORY "
                "SERIAL COUNT\n");
        return 2;
    }
    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_pool_create(&p, pool);
    issuer.cert = read_cert(argv[1]);
    issuer.key = read_key(argv[2]);
    key_of.key = read_key(argv[3]);
    for (i = 0; i < atol(argv[7]); i++) {
        want.serial = atol(argv[6]) + i;
        make_leaf(want, i + 1, argv[4], argv[5], p);
        apr_pool_clear(p);
    }
    return 0;
}
