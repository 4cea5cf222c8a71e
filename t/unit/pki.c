/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The certification authority of pki.h. OpenSSL's own builders do the work;
 * where they are too well-behaved for a test (odd times, a CertID of mixed
 * descent, bytes behind the end), the structure is altered after they built
 * it and before it is signed.
 */

#include "pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define THE_DAY "20270101000000Z"

__attribute__((noreturn))
static void give_up(const char *what)
{
    fprintf(stderr, "pki: cannot %s\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

static void must(int is_done, const char *what)
{
    if (!is_done) {
        give_up(what);
    }
}

static apr_status_t release_cert(void *cert)
{
    X509_free(cert);
    return APR_SUCCESS;
}

static apr_status_t release_key(void *key)
{
    EVP_PKEY_free(key);
    return APR_SUCCESS;
}

static pki_id_t keep(X509 *cert, EVP_PKEY *key, apr_pool_t *p)
{
    pki_id_t id;

    id.cert = cert;
    id.key = key;
    apr_pool_cleanup_register(p, cert, release_cert, apr_pool_cleanup_null);
    if (key) {
        apr_pool_cleanup_register(p, key, release_key,
                                  apr_pool_cleanup_null);
    }
    return id;
}

/* Take over what OpenSSL allocated. */
static pki_der_t keep_der(unsigned char *bytes, int len, apr_pool_t *p)
{
    pki_der_t der;

    must(len > 0, "encode");
    der.bytes = apr_pmemdup(p, bytes, (apr_size_t)len);
    der.len = (apr_size_t)len;
    OPENSSL_free(bytes);
    return der;
}

static EVP_PKEY *make_key(pki_key_e type)
{
    static const int ids[] = { EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_ED25519 };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(ids[type], NULL);
    EVP_PKEY *key = NULL;

    must(ctx && EVP_PKEY_keygen_init(ctx) > 0, "begin a key");
    if (type == PKI_EC) {
        must(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(
                 ctx, NID_X9_62_prime256v1) > 0, "choose P-256");
    }
    if (type == PKI_RSA) {
        must(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) > 0,
             "choose 2048 bits");
    }
    must(EVP_PKEY_keygen(ctx, &key) > 0, "make a key");
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static const EVP_MD *digest_for(const EVP_MD *(*digest)(void),
                                const EVP_PKEY *key)
{
    if (EVP_PKEY_base_id(key) == EVP_PKEY_ED25519) {
        return NULL;
    }
    return digest ? digest() : EVP_sha256();
}

int pki_may_sign(const EVP_MD *(*digest)(void), const pki_id_t *signer)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int may_sign;

    must(ctx != NULL, "make a context");
    may_sign = EVP_DigestSignInit(ctx, NULL, digest(), NULL,
                                  signer->key) > 0;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return may_sign;
}

static void set_times(X509 *cert, const char *from, const char *until)
{
    ASN1_TIME *t = ASN1_TIME_new();

    must(ASN1_TIME_set_string_X509(t, from ? from : "20260101000000Z")
         && X509_set1_notBefore(cert, t), "set notBefore");
    must(ASN1_TIME_set_string_X509(t, until ? until : "20460101000000Z")
         && X509_set1_notAfter(cert, t), "set notAfter");
    ASN1_TIME_free(t);
}

static void set_name(X509 *cert, const char *cn, const pki_id_t *issuer)
{
    X509_NAME *name = X509_NAME_new();

    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    (const unsigned char *)cn, -1, -1, 0)
         && X509_set_subject_name(cert, name)
         && X509_set_issuer_name(cert, issuer
                                 ? X509_get_subject_name(issuer->cert)
                                 : name), "set the names");
    X509_NAME_free(name);
}

static void add_extensions(X509 *cert, X509 *issuer, const char *const *list)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    for (; *list; list += 2) {
        X509_EXTENSION *ext = X509V3_EXT_nconf(NULL, &ctx, list[0], list[1]);

        must(ext && X509_add_ext(cert, ext, -1), list[0]);
        X509_EXTENSION_free(ext);
    }
}

pki_id_t pki_make(const pki_want_t *want, apr_pool_t *p)
{
    X509 *cert = X509_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    EVP_PKEY *key, *signing;

    if (want->key_of) {
        key = want->key_of->key;
        EVP_PKEY_up_ref(key);
    }
    else {
        key = make_key(want->key_type);
    }
    signing = want->issuer ? want->issuer->key : key;
    must(X509_set_version(cert, 2) && ASN1_INTEGER_set(serial, want->serial)
         && X509_set_serialNumber(cert, serial)
         && X509_set_pubkey(cert, key), "fill in a certificate");
    ASN1_INTEGER_free(serial);
    set_times(cert, want->from, want->until);
    set_name(cert, want->name, want->issuer);
    add_extensions(cert, want->issuer ? want->issuer->cert : cert,
                   want->extensions);
    must(X509_sign(cert, signing, digest_for(want->digest, signing)),
         "sign a certificate");
    return keep(cert, key, p);
}

pki_id_t pki_read(const char *pem, apr_pool_t *p)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    must(cert != NULL, "read a certificate");
    BIO_free(bio);
    ERR_clear_error(); /* having no key is no error */
    return keep(cert, key, p);
}

const char *pki_pem(const pki_id_t *id, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text;
    char *data;
    long len;

    must(PEM_write_bio_X509(bio, id->cert), "write a certificate");
    must(!id->key || PEM_write_bio_PrivateKey(bio, id->key, NULL, NULL, 0,
                                              NULL, NULL), "write a key");
    len = BIO_get_mem_data(bio, &data);
    text = apr_pstrmemdup(p, data, (apr_size_t)len);
    BIO_free(bio);
    return text;
}

const char *pki_time(apr_time_t t, apr_pool_t *p)
{
    apr_time_exp_t x;

    apr_time_exp_gmt(&x, t);
    return apr_psprintf(p, "%04d%02d%02d%02d%02d%02dZ", x.tm_year + 1900,
                        x.tm_mon + 1, x.tm_mday, x.tm_hour, x.tm_min,
                        x.tm_sec);
}

static void set_text(const ASN1_GENERALIZEDTIME *t, const char *text)
{
    must(ASN1_STRING_set((ASN1_STRING *)t, text, -1), "set a time");
}

static X509_EXTENSION *make_extension(const char *oid, int is_critical)
{
    static const unsigned char null[] = { 0x05, 0x00 };
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 0);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;

    must(ASN1_OCTET_STRING_set(value, null, sizeof(null)), "set a value");
    ext = X509_EXTENSION_create_by_OBJ(NULL, object, is_critical, value);
    must(ext != NULL, "make an extension");
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
    return ext;
}

static void add_basic_ext(OCSP_BASICRESP *basic, const char *oid,
                          int is_critical)
{
    X509_EXTENSION *ext = make_extension(oid, is_critical);

    must(OCSP_BASICRESP_add_ext(basic, ext, -1), "add an extension");
    X509_EXTENSION_free(ext);
}

static void add_single_ext(OCSP_SINGLERESP *single, const char *oid,
                           int is_critical)
{
    X509_EXTENSION *ext = make_extension(oid, is_critical);

    must(OCSP_SINGLERESP_add_ext(single, ext, -1), "add an extension");
    X509_EXTENSION_free(ext);
}

static OCSP_CERTID *make_id(const pki_single_t *want)
{
    const pki_id_t *key_of = want->key_of ? want->key_of : want->issuer;
    OCSP_CERTID *id;

    id = OCSP_cert_id_new(want->hash ? want->hash() : EVP_sha1(),
                          X509_get_subject_name(want->issuer->cert),
                          X509_get0_pubkey_bitstr(key_of->cert),
                          X509_get0_serialNumber(want->leaf->cert));
    must(id != NULL, "make a CertID");
    return id;
}

static void add_single(OCSP_BASICRESP *basic, const pki_single_t *want)
{
    OCSP_CERTID *id = make_id(want);
    ASN1_TIME *any = ASN1_TIME_set(NULL, 0);
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update, *next_update;
    OCSP_SINGLERESP *single;

    single = OCSP_basic_add1_status(basic, id, want->status,
                                    want->has_crl_reason ? want->crl_reason
                                                         : -1,
                                    any, any,
                                    want->next_update ? any : NULL);
    must(single != NULL, "add a single response");
    OCSP_single_get0_status(single, NULL, &revoked, &this_update,
                            &next_update);
    set_text(this_update, want->this_update ? want->this_update : THE_DAY);
    if (want->next_update) {
        set_text(next_update, want->next_update);
    }
    if (want->status == V_OCSP_CERTSTATUS_REVOKED) {
        set_text(revoked, want->revoked_at ? want->revoked_at : THE_DAY);
    }
    if (want->critical) {
        add_single_ext(single, want->critical, 1);
    }
    if (want->plain) {
        add_single_ext(single, want->plain, 0);
    }
    ASN1_TIME_free(any);
    OCSP_CERTID_free(id);
}

static void sign(OCSP_BASICRESP *basic, const pki_id_t *signer,
                 const EVP_MD *digest, int is_pss, unsigned long flags)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx = NULL;

    must(EVP_DigestSignInit(ctx, &key_ctx, digest, NULL, signer->key) > 0,
         "begin to sign");
    if (is_pss) {
        must(EVP_PKEY_CTX_set_rsa_padding(key_ctx,
                                          RSA_PKCS1_PSS_PADDING) > 0,
             "choose PSS");
    }
    must(OCSP_basic_sign_ctx(basic, signer->cert, ctx, NULL,
                             flags | OCSP_NOTIME | OCSP_NOCERTS),
         "sign a response");
    EVP_MD_CTX_free(ctx);
}

/* Have a PSS signature claim another digest than it was made with: OpenSSL 3
 * makes none with a weak one. */
static void claim_digest(OCSP_BASICRESP *basic, const EVP_MD *digest)
{
    X509_ALGOR *algorithm = (X509_ALGOR *)OCSP_resp_get0_tbs_sigalg(basic);
    const void *value;
    int type;
    RSA_PSS_PARAMS *pss;
    ASN1_STRING *packed;

    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    pss = ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
    must(pss && pss->hashAlgorithm, "read the parameters of PSS");
    X509_ALGOR_set_md(pss->hashAlgorithm, digest);
    packed = ASN1_item_pack(pss, ASN1_ITEM_rptr(RSA_PSS_PARAMS), NULL);
    must(packed && X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss),
                                   V_ASN1_SEQUENCE, packed),
         "alter the parameters of PSS");
    RSA_PSS_PARAMS_free(pss);
}

static pki_der_t encode(int status, OCSP_BASICRESP *basic, apr_pool_t *p)
{
    OCSP_RESPONSE *response = OCSP_response_create(status, basic);
    unsigned char *bytes = NULL;
    int len;

    must(response != NULL, "make a response");
    len = i2d_OCSP_RESPONSE(response, &bytes);
    OCSP_RESPONSE_free(response);
    return keep_der(bytes, len, p);
}

pki_der_t pki_respond(const pki_response_t *want, apr_pool_t *p)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    const pki_single_t *single;
    const pki_id_t *const *included;
    pki_der_t der;

    for (single = want->singles; single->leaf; single++) {
        add_single(basic, single);
    }
    for (included = want->included; *included; included++) {
        must(OCSP_basic_add1_cert(basic, (*included)->cert),
             "include a certificate");
    }
    if (want->critical) {
        add_basic_ext(basic, want->critical, 1);
    }
    if (want->plain) {
        add_basic_ext(basic, want->plain, 0);
    }
    set_text(OCSP_resp_get0_produced_at(basic),
             want->produced_at ? want->produced_at : THE_DAY);
    sign(basic, want->signer, digest_for(want->digest, want->signer->key),
         want->is_pss, want->by_key ? OCSP_RESPID_KEY : 0);
    if (want->claimed_pss_digest) {
        claim_digest(basic, want->claimed_pss_digest());
    }
    der = encode(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic, p);
    OCSP_BASICRESP_free(basic);
    return der;
}

pki_der_t pki_respond_status(int status, apr_pool_t *p)
{
    return encode(status, NULL, p);
}

static OCSP_BASICRESP *read_basic(pki_der_t der)
{
    const unsigned char *at = der.bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response)
                                     : NULL;

    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return basic;
}

pki_der_t pki_unwrap(pki_der_t der, apr_pool_t *p)
{
    OCSP_BASICRESP *basic = read_basic(der);
    unsigned char *bytes = NULL;
    int len;

    must(basic != NULL, "read a response");
    len = i2d_OCSP_BASICRESP(basic, &bytes);
    OCSP_BASICRESP_free(basic);
    return keep_der(bytes, len, p);
}

pki_der_t pki_sign_again(pki_der_t der, const pki_id_t *signer, apr_pool_t *p)
{
    OCSP_BASICRESP *basic = read_basic(der);
    const ASN1_OCTET_STRING *key_hash = NULL;
    const X509_NAME *name = NULL;
    pki_der_t result = { NULL, 0 };

    /* OpenSSL takes a ResponderID byKey that is there already for a name */
    if (basic && OCSP_resp_get0_id(basic, &key_hash, &name) && name) {
        sign(basic, signer, digest_for(NULL, signer->key), 0, 0);
        result = encode(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic, p);
    }
    OCSP_BASICRESP_free(basic);
    return result;
}

pki_der_t pki_tag(int tag, pki_der_t inner, apr_pool_t *p)
{
    pki_der_t der;
    unsigned char *at;

    der.len = (apr_size_t)ASN1_object_size(0, (int)inner.len, V_ASN1_SEQUENCE);
    der.bytes = at = apr_palloc(p, der.len);
    *at++ = (unsigned char)tag;
    if (inner.len >= 128) {
        int bytes = 1 + (inner.len > 0xff) + (inner.len > 0xffff);

        *at++ = (unsigned char)(0x80 | bytes);
        while (--bytes > 0) {
            *at++ = (unsigned char)(inner.len >> (8 * bytes));
        }
    }
    *at++ = (unsigned char)inner.len;
    memcpy(at, inner.bytes, inner.len);
    return der;
}

static pki_der_t join(pki_der_t a, pki_der_t b, apr_pool_t *p)
{
    pki_der_t der;

    der.len = a.len + b.len;
    der.bytes = apr_palloc(p, der.len);
    memcpy(der.bytes, a.bytes, a.len);
    memcpy(der.bytes + a.len, b.bytes, b.len);
    return der;
}

pki_der_t pki_wrap(const char *oid, pki_der_t inner, apr_pool_t *p)
{
    static unsigned char successful[] = { 0x0a, 0x01, 0x00 };
    pki_der_t status = { successful, sizeof(successful) };
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 0);
    unsigned char *bytes = NULL;
    int len = i2d_ASN1_OBJECT(object, &bytes);
    pki_der_t body;

    ASN1_OBJECT_free(object);
    body = join(keep_der(bytes, len, p), pki_tag(0x04, inner, p), p);
    body = pki_tag(0xa0, pki_tag(0x30, body, p), p);
    return pki_tag(0x30, join(status, body, p), p);
}
