/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Certificates as text and as PEM, see include/staple_x509.h for the contract.
 * What does not live here: whether a certificate is worth anything, which is
 * staple_ocsp's and staple_cert's to say.
 */

#include "staple_x509.h"

#include <string.h>

#include <limits.h>
#include <string.h>

#include <apr_strings.h>


#include <openssl/asn1t.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "bytes.h"
#include "staple_text.h"

/* What is longer is not worth the log's room. */
#define TEXT_MAX 500

/* Digits of a serial number; 20 octets (RFC 5280 4.1.2.2) have fewer. */
#define SERIAL_MAX 48

/* The TLS extension number of status_request (RFC 6066 8, RFC 7633 6). */
#define TLS_FEATURE_STATUS_REQUEST 5

/* How many issuers of one name are tried: each costs the check of a signature,
 * and whoever made the certificates chose their number and their keys. */
#define SIGNERS_MAX 8

/* ----- a certificate without its key ----- */

ASN1_SEQUENCE(staple_x509_key_t) = {
    ASN1_SIMPLE(staple_x509_key_t, algorithm, X509_ALGOR),
    ASN1_SIMPLE(staple_x509_key_t, bits, ASN1_BIT_STRING)
} static_ASN1_SEQUENCE_END(staple_x509_key_t)

ASN1_SEQUENCE(staple_x509_body_t) = {
    ASN1_EXP_OPT(staple_x509_body_t, version, ASN1_INTEGER, 0),
    ASN1_SIMPLE(staple_x509_body_t, serial, ASN1_INTEGER),
    ASN1_SIMPLE(staple_x509_body_t, algorithm, X509_ALGOR),
    ASN1_SIMPLE(staple_x509_body_t, issuer, X509_NAME),
    ASN1_SIMPLE(staple_x509_body_t, validity, X509_VAL),
    ASN1_SIMPLE(staple_x509_body_t, subject, X509_NAME),
    ASN1_SIMPLE(staple_x509_body_t, key, staple_x509_key_t),
    ASN1_IMP_OPT(staple_x509_body_t, issuer_uid, ASN1_BIT_STRING, 1),
    ASN1_IMP_OPT(staple_x509_body_t, subject_uid, ASN1_BIT_STRING, 2),
    ASN1_EXP_SEQUENCE_OF_OPT(staple_x509_body_t, extensions, X509_EXTENSION, 3)
} static_ASN1_SEQUENCE_END(staple_x509_body_t)

ASN1_SEQUENCE(staple_x509_t) = {
    ASN1_SIMPLE(staple_x509_t, body, staple_x509_body_t),
    ASN1_SIMPLE(staple_x509_t, algorithm, X509_ALGOR),
    ASN1_SIMPLE(staple_x509_t, signature, ASN1_BIT_STRING)
} static_ASN1_SEQUENCE_END(staple_x509_t)

staple_x509_t *staple_x509_read(const unsigned char *der, apr_size_t len)
{
    const unsigned char *end = der;
    staple_x509_t *x = len > LONG_MAX ? NULL
        : (staple_x509_t *)ASN1_item_d2i(NULL, &end, (long)len,
                                         ASN1_ITEM_rptr(staple_x509_t));

    if (x && end != der + len) {
        staple_x509_free(x);
        return NULL;
    }
    return x;
}

void staple_x509_free(staple_x509_t *x)
{
    ASN1_item_free((ASN1_VALUE *)x, ASN1_ITEM_rptr(staple_x509_t));
}

void *staple_x509_extension(const staple_x509_t *x, int nid)
{
    return X509V3_get_d2i(x->body->extensions, nid, NULL, NULL);
}

int staple_x509_has_extension(const staple_x509_t *x, const char *oid)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int found = object
                && X509v3_get_ext_by_OBJ(x->body->extensions, object, -1) >= 0;

    ASN1_OBJECT_free(object);
    return found;
}

int staple_x509_is_must_staple(const staple_x509_t *x)
{
    TLS_FEATURE *features = staple_x509_extension(x, NID_tlsfeature);
    int found = 0;
    int i;

    for (i = 0; !found && i < sk_ASN1_INTEGER_num(features); i++) {
        found = ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i))
                == TLS_FEATURE_STATUS_REQUEST;
    }
    TLS_FEATURE_free(features);
    return found;
}

/* The length of an RSA key's modulus: SEQUENCE { modulus, exponent } (RFC 8017
 * A.1.1), as it stands in a key's bits. */
static int rsa_bits(const ASN1_BIT_STRING *key)
{
    const unsigned char *at = ASN1_STRING_get0_data(key);
    const unsigned char *end = at + ASN1_STRING_length(key);
    ASN1_INTEGER *modulus;
    BIGNUM *number;
    long len;
    int tag, class, bits;

    if (ASN1_get_object(&at, &len, &tag, &class, end - at) & 0x80
        || tag != V_ASN1_SEQUENCE) {
        return 0;
    }
    modulus = d2i_ASN1_INTEGER(NULL, &at, end - at);
    number = modulus ? ASN1_INTEGER_to_BN(modulus, NULL) : NULL;
    bits = number ? BN_num_bits(number) : 0;
    BN_free(number);
    ASN1_INTEGER_free(modulus);
    return bits;
}

/* The size of a curve's field: an uncompressed point (SEC 1 2.3.3) is one byte
 * and two numbers of that many bits, rounded up to bytes. */
static int ec_bits(const ASN1_BIT_STRING *key)
{
    int bytes = (ASN1_STRING_length(key) - 1) / 2;

    return bytes == 66 ? 521 : 8 * bytes; /* P-521 alone is no whole number */
}

const char *staple_x509_key_text(const staple_x509_t *x, apr_pool_t *p)
{
    const staple_x509_key_t *key = x->body->key;
    const ASN1_OBJECT *algorithm;

    X509_ALGOR_get0(&algorithm, NULL, NULL, key->algorithm);
    switch (OBJ_obj2nid(algorithm)) {
    case NID_rsaEncryption:
        return apr_psprintf(p, "RSA %d", rsa_bits(key->bits));
    case NID_rsassaPss:
        return apr_psprintf(p, "RSASSA-PSS %d", rsa_bits(key->bits));
    case NID_X9_62_id_ecPublicKey:
        return apr_psprintf(p, "EC %d", ec_bits(key->bits));
    case NID_ED25519:
        return "ED25519 253";
    case NID_ED448:
        return "ED448 456";
    default:
        return staple_x509_object_text(algorithm, p);
    }
}

/* ----- text ----- */

/* Of RFC 4514's "\C3" and "\," the first has its two digits already, and the
 * second gets those of the character: %C3 and %2C. */
static const char *name_without_backslashes(const char *text, apr_size_t len,
                                            apr_pool_t *p)
{
    char *out = apr_palloc(p, 2 * len + 1);
    char *to = out;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        if (text[i] != '\\' || i + 1 == len) {
            *to++ = text[i];
        }
        else if (i + 2 < len && hex_value((unsigned char)text[i + 1]) >= 0
                 && hex_value((unsigned char)text[i + 2]) >= 0) {
            *to++ = '%';
        }
        else {
            i++;
            to += apr_snprintf(to, 4, "%%%02X",
                               (unsigned)(unsigned char)text[i]);
        }
    }
    *to = '\0';
    return out;
}

const char *staple_x509_name_text(const X509_NAME *name, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = "";
    char *data;
    long len;

    if (bio && name && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0
        && (len = BIO_get_mem_data(bio, &data)) > 0) {
        text = name_without_backslashes(data, (apr_size_t)len, p);
        text = staple_text_name(text, strlen(text), TEXT_MAX, p);
    }
    BIO_free(bio);
    return text;
}

const char *staple_x509_serial_text(const ASN1_INTEGER *serial, apr_pool_t *p)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    const char *text = hex ? staple_text_printable(hex, strlen(hex), SERIAL_MAX,
                                                   p) : "?";

    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

const char *staple_x509_object_text(const ASN1_OBJECT *object, apr_pool_t *p)
{
    char text[128];

    OBJ_obj2txt(text, sizeof(text), object, 0);
    return staple_text_name(text, strlen(text), TEXT_MAX, p);
}

const char *staple_x509_string_text(const ASN1_STRING *string, apr_pool_t *p)
{
    int len = ASN1_STRING_length(string);

    return len > 0 ? staple_text_name(
                         (const char *)ASN1_STRING_get0_data(string),
                         (apr_size_t)len, TEXT_MAX, p)
                   : NULL;
}

static int may_be_issuer(X509 *x, X509 *leaf)
{
    return x != leaf && X509_check_issued(x, leaf) == X509_V_OK;
}

/* The index of the first one from i on; past the end: there is none. */
static int next_issuer(const STACK_OF(X509) *among, X509 *leaf, int i)
{
    while (i < sk_X509_num(among)
           && !may_be_issuer(sk_X509_value(among, i), leaf)) {
        i++;
    }
    return i;
}

X509 *staple_x509_find_issuer(const STACK_OF(X509) *among, X509 *leaf)
{
    return sk_X509_value(among, next_issuer(among, leaf, 0));
}

static int has_signed(X509 *issuer, X509 *leaf)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    int it_has;

    ERR_set_mark();
    it_has = key && X509_verify(leaf, key) == 1;
    ERR_pop_to_mark();
    return it_has;
}

X509 *staple_x509_find_signer(const STACK_OF(X509) *among, X509 *leaf)
{
    int first = next_issuer(among, leaf, 0);
    int i = first, tried = 0;

    if (next_issuer(among, leaf, first + 1) >= sk_X509_num(among)) {
        return sk_X509_value(among, first);
    }
    for (; i < sk_X509_num(among) && tried < SIGNERS_MAX; tried++) {
        if (has_signed(sk_X509_value(among, i), leaf)) {
            return sk_X509_value(among, i);
        }
        i = next_issuer(among, leaf, i + 1);
    }
    return sk_X509_value(among, first);
}

/* OpenSSL's own would ask at the terminal, and wait. */
static int no_passphrase(char *buffer, int size, int is_writing, void *baton)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)baton;
    return -1;
}

X509 *staple_x509_next(BIO *pem)
{
    return PEM_read_bio_X509_AUX(pem, NULL, no_passphrase, NULL);
}

const char *staple_x509_pem(X509 *leaf, X509 *issuer, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    char *data;
    long len;

    if (bio && PEM_write_bio_X509(bio, leaf)
        && PEM_write_bio_X509(bio, issuer)) {
        len = BIO_get_mem_data(bio, &data);
        text = apr_pstrmemdup(p, data, (apr_size_t)len);
    }
    BIO_free(bio);
    return text;
}

int staple_x509_has_responder(X509 *x)
{
    STACK_OF(OPENSSL_STRING) *uris = X509_get1_ocsp(x);
    int it_has = sk_OPENSSL_STRING_num(uris) > 0;

    X509_email_free(uris);
    return it_has;
}
