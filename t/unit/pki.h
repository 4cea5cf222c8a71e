/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_PKI_H
#define STAPLE_T_PKI_H

/*
 * A certification authority for tests, in memory: certificates of any
 * descent, and OCSP responses of every kind, the wrong ones above all.
 *
 * What is wanted is a struct, and what it leaves at zero is the ordinary
 * thing; so a test names what is special about its case and nothing else.
 * Everything belongs to the pool it is made from. What cannot be made ends
 * the program with a message: a test has no use for such an error.
 */

#include <apr_pools.h>
#include <apr_time.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

/** A certificate and the key in it. */
typedef struct pki_id_t {
    X509 *cert;
    EVP_PKEY *key; /* NULL where it was read without its key */
} pki_id_t;

typedef enum {
    PKI_EC, /* P-256 */
    PKI_RSA, /* 2048 bits */
    PKI_ED25519
} pki_key_e;

/** Entries of pki_want_t.extensions that are used often. */
#define PKI_CA "basicConstraints", "critical,CA:TRUE"
#define PKI_OCSP_SIGNER "extendedKeyUsage", "OCSPSigning"
#define PKI_NO_CHECK "noCheck", "ignored"
#define PKI_MUST_STAPLE "tlsfeature", "status_request"

/** A certificate as it is wanted. */
typedef struct pki_want_t {
    const char *name;       /* the subject's common name */
    const pki_id_t *issuer; /* NULL: it signs itself */
    const pki_id_t *key_of; /* NULL: a new key */
    pki_key_e key_type;     /* of a new key */
    long serial;
    const char *from;       /* YYYYMMDDHHMMSSZ; NULL: 2026-01-01 */
    const char *until;      /* NULL: 2046-01-01 */
    const EVP_MD *(*digest)(void); /* NULL: SHA-256, or none with Ed25519 */
    const char *extensions[12]; /* name, value, name, value ... as in a
                                   configuration file of OpenSSL's */
} pki_want_t;

/** Make a certificate. */
pki_id_t pki_make(const pki_want_t *want, apr_pool_t *p);

/** Whether this OpenSSL, as configured, signs with that digest at all. */
int pki_may_sign(const EVP_MD *(*digest)(void), const pki_id_t *signer);

/** Read a certificate, and a private key where there is one, from PEM. */
pki_id_t pki_read(const char *pem, apr_pool_t *p);

/** Both of an id as PEM, to be read by pki_read. */
const char *pki_pem(const pki_id_t *id, apr_pool_t *p);

/** One SingleResponse. Times are the text of a GeneralizedTime, unchecked. */
typedef struct pki_single_t {
    const pki_id_t *leaf;   /* serial of the CertID; NULL: end of the list */
    const pki_id_t *issuer; /* issuerNameHash, and issuerKeyHash */
    const pki_id_t *key_of; /* issuerKeyHash, where it shall be another's */
    const EVP_MD *(*hash)(void); /* of the CertID; NULL: SHA-1 */
    int status;             /* V_OCSP_CERTSTATUS_... */
    int has_crl_reason;
    int crl_reason;
    const char *revoked_at;  /* NULL: 2027-01-01 */
    const char *this_update; /* NULL: 2027-01-01 */
    const char *next_update; /* NULL: none */
    const char *critical;    /* the OID of a critical extension; NULL: none */
    const char *plain;       /* the OID of another */
} pki_single_t;

/** A response as it is wanted. */
typedef struct pki_response_t {
    const pki_id_t *signer;
    pki_single_t singles[4];
    const pki_id_t *included[4]; /* certificates, up to the first NULL */
    int by_key;                  /* ResponderID byKey rather than byName */
    int is_pss;                  /* RSA-PSS rather than PKCS#1 v1.5 */
    const EVP_MD *(*digest)(void); /* as in pki_want_t */
    const EVP_MD *(*claimed_pss_digest)(void); /* what a PSS signature says it
                                    was made with, against the truth */
    const char *produced_at;     /* NULL: 2027-01-01 */
    const char *critical;        /* the OID of a critical extension */
    const char *plain;           /* the OID of another */
} pki_response_t;

/** DER, on loan from the pool it was made from. */
typedef struct pki_der_t {
    unsigned char *bytes;
    apr_size_t len;
} pki_der_t;

/** Make and sign a response. */
pki_der_t pki_respond(const pki_response_t *response, apr_pool_t *p);

/** A response that is nothing but its status. */
pki_der_t pki_respond_status(int status, apr_pool_t *p);

/** The BasicOCSPResponse inside a response. */
pki_der_t pki_unwrap(pki_der_t der, apr_pool_t *p);

/** A successful response of type oid around any bytes. */
pki_der_t pki_wrap(const char *oid, pki_der_t inner, apr_pool_t *p);

/** tag, length and der: for what no library would encode. */
pki_der_t pki_tag(int tag, pki_der_t der, apr_pool_t *p);

/** Sign the BasicOCSPResponse in der anew, as the certificate signer, with
 * everything else as it is; bytes is NULL where der cannot be read, or says
 * by key who signed it. */
pki_der_t pki_sign_again(pki_der_t der, const pki_id_t *signer, apr_pool_t *p);

/** The text of a GeneralizedTime. */
const char *pki_time(apr_time_t t, apr_pool_t *p);

#endif /* STAPLE_T_PKI_H */
