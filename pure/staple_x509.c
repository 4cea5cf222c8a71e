/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Certificates as text and as PEM, see include/staple_x509.h for the contract.
 * What does not live here: whether a certificate is worth anything, which is
 * staple_ocsp's and staple_cert's to say.
 */

#include "staple_x509.h"

#include <apr_strings.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "staple_text.h"

/* What is longer is not worth the log's room. */
#define TEXT_MAX 500

const char *staple_x509_name_text(const X509_NAME *name, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = "";
    char *data;
    long len;

    if (bio && name && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0
        && (len = BIO_get_mem_data(bio, &data)) > 0) {
        text = staple_text_printable(data, (apr_size_t)len, TEXT_MAX, p);
    }
    BIO_free(bio);
    return text;
}

const char *staple_x509_serial_text(const ASN1_INTEGER *serial, apr_pool_t *p)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    const char *text = apr_pstrdup(p, hex ? hex : "?");

    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

const char *staple_x509_object_text(const ASN1_OBJECT *object, apr_pool_t *p)
{
    char text[128];

    OBJ_obj2txt(text, sizeof(text), object, 0);
    return staple_text_string(text, p);
}

const char *staple_x509_string_text(const ASN1_STRING *string, apr_pool_t *p)
{
    int len = ASN1_STRING_length(string);

    return len > 0 ? staple_text_printable(
                         (const char *)ASN1_STRING_get0_data(string),
                         (apr_size_t)len, TEXT_MAX, p)
                   : NULL;
}

X509 *staple_x509_find_issuer(const STACK_OF(X509) *among, X509 *leaf)
{
    int i;

    for (i = 0; i < sk_X509_num(among); i++) {
        X509 *x = sk_X509_value(among, i);

        if (x != leaf && X509_check_issued(x, leaf) == X509_V_OK) {
            return x;
        }
    }
    return NULL;
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
