/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_SUBJECT_H
#define STAPLE_T_SUBJECT_H

/*
 * The subject of a certificate that a test has as OpenSSL's X509.
 */

#include "staple_ocsp.h"
#include "staple_x509.h"

/** As staple_ocsp_subject_create. */
static inline apr_status_t subject_of(staple_ocsp_subject_t **subject,
                                      X509 *leaf, X509 *issuer, apr_pool_t *p)
{
    staple_ocsp_issuer_t *prepared = NULL;
    unsigned char *der = NULL;
    int len = i2d_X509(issuer, &der);
    apr_status_t rv = len < 0 ? APR_EINVAL
                      : staple_ocsp_issuer_create(&prepared, der,
                                                  (apr_size_t)len, p);
    staple_x509_t *x;

    OPENSSL_free(der);
    der = NULL;
    len = i2d_X509(leaf, &der);
    x = len < 0 ? NULL : staple_x509_read(der, (apr_size_t)len);
    OPENSSL_free(der);
    if (!rv) {
        rv = x ? staple_ocsp_subject_create(subject, x, prepared, p)
               : APR_EINVAL;
    }
    staple_x509_free(x);
    return rv;
}

#endif /* STAPLE_T_SUBJECT_H */
