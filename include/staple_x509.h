/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_X509_H
#define STAPLE_X509_H

/*
 * Parts of a certificate as text, and certificates as PEM. Names and numbers
 * come from whoever had the certificate issued: all text is printable ASCII.
 * Nothing is judged here. Any thread may call any function; what is returned
 * lives in p. OpenSSL's queue of errors is the caller's to clear.
 */

#include <apr_pools.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/x509.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A certificate (RFC 5280 4.1) taken apart without looking into its key:
 * OpenSSL's X509 decodes the key at once, which is most of the work, and most
 * certificates of a server are only described. Nothing of it is checked.
 */
typedef struct staple_x509_key_t {
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *bits;
} staple_x509_key_t;

typedef struct staple_x509_body_t {
    ASN1_INTEGER *version;
    ASN1_INTEGER *serial;
    X509_ALGOR *algorithm;
    X509_NAME *issuer;
    X509_VAL *validity;
    X509_NAME *subject;
    staple_x509_key_t *key;
    ASN1_BIT_STRING *issuer_uid;
    ASN1_BIT_STRING *subject_uid;
    STACK_OF(X509_EXTENSION) *extensions; /* NULL: it has none */
} staple_x509_body_t;

typedef struct staple_x509_t {
    staple_x509_body_t *body;
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *signature;
} staple_x509_t;

/** Take a certificate's DER apart. @return NULL where it is none, or bytes
 * follow it; to be freed with staple_x509_free */
staple_x509_t *staple_x509_read(const unsigned char *der, apr_size_t len);

void staple_x509_free(staple_x509_t *x);

/** An extension, decoded, for the type's own free function; NULL: there is
 * none, or two, or a broken one. */
void *staple_x509_extension(const staple_x509_t *x, int nid);

/** Whether there is an extension of that object identifier. */
int staple_x509_has_extension(const staple_x509_t *x, const char *oid);

/** Whether clients are to refuse it without a staple: the TLS feature
 * status_request (RFC 7633 6). */
int staple_x509_is_must_staple(const staple_x509_t *x);

/** "RSA 2048", "EC 256", "ED25519 253", as OpenSSL counts bits; "?" where it
 * cannot be told. */
const char *staple_x509_key_text(const staple_x509_t *x, apr_pool_t *p);

/** A name as in RFC 4514, "CN=www.example,O=Example", but with %2C for an
 * escaped comma and the like, since no text has a backslash or a quote; cut
 * behind 500 bytes; "" where it cannot be told. */
const char *staple_x509_name_text(const X509_NAME *name, apr_pool_t *p);

/** A serial number in hexadecimal, as OpenSSL writes it: "0A1B", "-02"; cut
 * behind 48 digits; "?" where it cannot be told. */
const char *staple_x509_serial_text(const ASN1_INTEGER *serial, apr_pool_t *p);

/** What an object identifier is called, or its numbers. */
const char *staple_x509_object_text(const ASN1_OBJECT *object, apr_pool_t *p);

/** A string of a certificate, cut behind 500 bytes; NULL where it is empty. */
const char *staple_x509_string_text(const ASN1_STRING *string, apr_pool_t *p);

/**
 * The certificate that a leaf's issuer has, told by names and key identifiers;
 * no signature is checked. Of several the first, which mod_ssl takes.
 * @param among what is searched; the leaf itself is passed over
 * @return one of them, not referenced; NULL: it is not among them
 */
X509 *staple_x509_find_issuer(const STACK_OF(X509) *among, X509 *leaf);

/**
 * The same, but of several the one whose key signed the leaf, if it is among
 * the first eight: a CA may have two keys under one name, and not every leaf
 * has a key identifier. Where there is only one, its signature is not checked.
 */
X509 *staple_x509_find_signer(const STACK_OF(X509) *among, X509 *leaf);

/** Whether a certificate names an OCSP responder. */
int staple_x509_has_responder(X509 *x);

/**
 * The next certificate of PEM text (RFC 7468). Whoever wrote the text may say
 * of one that it is encrypted: nobody is asked for a passphrase, and it cannot
 * be read.
 * @return to be freed with X509_free; NULL: there is none, or it cannot be read
 */
X509 *staple_x509_next(BIO *pem);

/** The PEM of a certificate and, behind it, of its issuer's; NULL where OpenSSL
 * has no memory. */
const char *staple_x509_pem(X509 *leaf, X509 *issuer, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_X509_H */
