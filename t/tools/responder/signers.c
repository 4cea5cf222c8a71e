/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The CAs that the responder was given, the delegates that they appoint, and
 * a stranger whom nobody trusts.
 */

#include "responder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define ISSUERS_MAX 16

static issuer_t issuers[ISSUERS_MAX];
static int issuers_count;
identity_t stranger;

static EVP_PKEY *make_key(void)
{
    EVP_PKEY_CTX *ctx = must(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL));
    EVP_PKEY *key = NULL;

    if (EVP_PKEY_keygen_init(ctx) <= 0
        || EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1)
           <= 0
        || EVP_PKEY_keygen(ctx, &key) <= 0) {
        die("cannot make a key");
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void add_ext(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = must(X509V3_EXT_conf_nid(NULL, &ctx, nid, value));
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

/* A certificate for `key`, made by `ca` (NULL: by itself), that began
 * `from` seconds from now and ends `to` seconds from now. */
static X509 *make_cert(const char *name, EVP_PKEY *key, const identity_t *ca,
                       int is_delegate, long from, long to)
{
    static long serial = 1000;
    X509 *cert = must(X509_new());
    X509_NAME *subject = must(X509_NAME_new());

    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), to);
    X509_set_subject_name(cert, subject);
    X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca->cert) : subject);
    X509_set_pubkey(cert, key);
    if (!ca) {
        add_ext(cert, NID_basic_constraints, "critical,CA:TRUE");
    }
    if (is_delegate) {
        add_ext(cert, NID_ext_key_usage, "OCSPSigning");
        add_ext(cert, NID_id_pkix_OCSP_noCheck, "NULL");
    }
    if (!X509_sign(cert, ca ? ca->key : key, EVP_sha256())) {
        die("cannot sign a certificate");
    }
    X509_NAME_free(subject);
    return cert;
}

static identity_t delegate_of(const identity_t *ca, EVP_PKEY *key,
                              int has_eku, long from, long to)
{
    identity_t d;

    d.cert = make_cert("test OCSP delegate", key, ca, has_eku, from, to);
    d.key = key;
    EVP_PKEY_up_ref(key);
    return d;
}

static FILE *open_pem(const char *path)
{
    FILE *f = fopen(path, "r");

    if (!f) {
        die("cannot read %s: %s", path, strerror(errno));
    }
    return f;
}

void load_issuer(const char *cert_path, const char *key_path)
{
    issuer_t *issuer = &issuers[issuers_count];
    identity_t *ca = &issuer->signers[SIGNER_ISSUER];
    FILE *f;

    if (issuers_count == ISSUERS_MAX) {
        die("more than %d issuers", ISSUERS_MAX);
    }
    f = open_pem(cert_path);
    ca->cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    f = open_pem(key_path);
    ca->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    if (!ca->cert || !ca->key || !X509_check_private_key(ca->cert, ca->key)) {
        die("%s and %s are no certificate and its key", cert_path, key_path);
    }
    issuers_count++;
}

void make_signers(void)
{
    EVP_PKEY *key = make_key();
    int i;

    stranger.key = make_key();
    stranger.cert = make_cert("stranger", stranger.key, NULL, 0, -DAY,
                              30 * DAY);
    for (i = 0; i < issuers_count; i++) {
        identity_t *s = issuers[i].signers;
        const identity_t *ca = &s[SIGNER_ISSUER];

        s[SIGNER_DELEGATE] = delegate_of(ca, key, 1, -DAY, 30 * DAY);
        s[SIGNER_DELEGATE_NOEKU] = delegate_of(ca, key, 0, -DAY, 30 * DAY);
        s[SIGNER_DELEGATE_EXPIRED] = delegate_of(ca, key, 1, -9 * DAY, -DAY);
        s[SIGNER_DELEGATE_STRANGER] = delegate_of(&stranger, key, 1, -DAY,
                                                  30 * DAY);
        s[SIGNER_STRANGER] = stranger;
        X509_up_ref(stranger.cert);
        EVP_PKEY_up_ref(stranger.key);
    }
    EVP_PKEY_free(key);
}

void free_signers(void)
{
    int i, j;

    for (i = 0; i < issuers_count; i++) {
        for (j = 0; j < SIGNERS; j++) {
            X509_free(issuers[i].signers[j].cert);
            EVP_PKEY_free(issuers[i].signers[j].key);
        }
    }
    X509_free(stranger.cert);
    EVP_PKEY_free(stranger.key);
}

const EVP_MD *certid_md(OCSP_CERTID *id)
{
    ASN1_OBJECT *md = NULL;

    OCSP_id_get0_info(NULL, &md, NULL, NULL, id);
    return EVP_get_digestbyobj(md);
}

const issuer_t *find_issuer(OCSP_CERTID *id)
{
    const EVP_MD *md = certid_md(id);
    int i;

    for (i = 0; md && i < issuers_count; i++) {
        X509 *cert = issuers[i].signers[SIGNER_ISSUER].cert;
        OCSP_CERTID *own = OCSP_cert_to_id(md, NULL, cert);
        int is_it = own && !OCSP_id_issuer_cmp(own, id);

        OCSP_CERTID_free(own);
        if (is_it) {
            return &issuers[i];
        }
    }
    return NULL;
}
