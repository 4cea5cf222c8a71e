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

#include <openssl/x509.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A name as in RFC 4514, "CN=www.example,O=Example"; cut behind 500 bytes; ""
 * where it cannot be told. */
const char *staple_x509_name_text(const X509_NAME *name, apr_pool_t *p);

/** A serial number in hexadecimal, as OpenSSL writes it: "0A1B", "-02"; "?"
 * where it cannot be told. */
const char *staple_x509_serial_text(const ASN1_INTEGER *serial, apr_pool_t *p);

/** What an object identifier is called, or its numbers. */
const char *staple_x509_object_text(const ASN1_OBJECT *object, apr_pool_t *p);

/** A string of a certificate, cut behind 500 bytes; NULL where it is empty. */
const char *staple_x509_string_text(const ASN1_STRING *string, apr_pool_t *p);

/**
 * The certificate that a leaf's issuer has, told by names and key identifiers;
 * no signature is checked.
 * @param among what is searched; the leaf itself is passed over
 * @return one of them, not referenced; NULL: it is not among them
 */
X509 *staple_x509_find_issuer(const STACK_OF(X509) *among, X509 *leaf);

/** The PEM of a certificate and, behind it, of its issuer's; NULL where OpenSSL
 * has no memory. */
const char *staple_x509_pem(X509 *leaf, X509 *issuer, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_X509_H */
