/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_OCSP_H
#define STAPLE_OCSP_H

/*
 * OCSP as values: the bytes of a request, and the judgement of a response
 * against one certificate at one moment. Pure: no socket, no file, no clock,
 * no log; the moment is a parameter and the verdict a struct.
 *
 * Rules from RFC 6960, its lightweight profile RFC 9919 (which replaced
 * RFC 5019) and RFC 9654, with one exception: RFC 9919 has clients refuse a
 * response without nextUpdate. It is served for a while all the same, as
 * mod_ssl does, because such responders exist (staple_ocsp_policy_t,
 * default_age).
 * OpenSSL parses and verifies; the policy is here.
 */

#include <apr_pools.h>
#include <apr_time.h>
#include <openssl/x509.h>

#include "staple_x509.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The hash of a CertID (RFC 6960 4.1.1). */
typedef enum {
    STAPLE_OCSP_SHA1,
    STAPLE_OCSP_SHA256
} staple_ocsp_hash_e;

/** What a response says of the certificate (RFC 6960 2.2). */
typedef enum {
    STAPLE_OCSP_GOOD,
    STAPLE_OCSP_REVOKED,
    STAPLE_OCSP_UNKNOWN
} staple_ocsp_status_e;

/**
 * Why a response is not to be believed, in the order in which it is looked
 * at. Values are stored in shared memory and shown: append, never renumber.
 */
typedef enum {
    STAPLE_OCSP_OK = 0,
    STAPLE_OCSP_NOT_DER,           /* does not parse as an OCSPResponse, or is
                                      not its one DER encoding */
    STAPLE_OCSP_TRAILING,          /* bytes follow the OCSPResponse */
    STAPLE_OCSP_MALFORMED_REQUEST, /* responseStatus 1 (RFC 6960 4.2.1) */
    STAPLE_OCSP_INTERNAL_ERROR,    /* responseStatus 2 */
    STAPLE_OCSP_TRY_LATER,         /* responseStatus 3 */
    STAPLE_OCSP_SIG_REQUIRED,      /* responseStatus 5 */
    STAPLE_OCSP_UNAUTHORIZED,      /* responseStatus 6 */
    STAPLE_OCSP_STATUS_OTHER,      /* a responseStatus nobody has defined */
    STAPLE_OCSP_NOT_BASIC,         /* no id-pkix-ocsp-basic response inside */
    STAPLE_OCSP_CRITICAL_EXT,      /* a critical extension we do not know */
    STAPLE_OCSP_OTHER_CERT,        /* no SingleResponse for our certificate */
    STAPLE_OCSP_NO_SIGNER,         /* the signer's certificate is not found, or
                                      the issuer's own is not there, or has a
                                      key that this OpenSSL does not know */
    STAPLE_OCSP_WEAK_SIGNATURE,    /* MD5 and its like, or a digest (SHA-1,
                                      say) that the linked OpenSSL is set up
                                      not to verify with */
    STAPLE_OCSP_BAD_SIGNATURE,     /* the signature does not verify */
    STAPLE_OCSP_SIGNER_NOT_ISSUED, /* a delegate whom our issuer did not sign */
    STAPLE_OCSP_SIGNER_NO_EKU,     /* a delegate without id-kp-OCSPSigning, or
                                      with an extension that is broken, or
                                      critical and not known */
    STAPLE_OCSP_SIGNER_EXPIRED,    /* a delegate past its notAfter */
    STAPLE_OCSP_SIGNER_NOT_YET,    /* a delegate before its notBefore */
    STAPLE_OCSP_BAD_TIMES,         /* a time is of an odd form, or nextUpdate
                                      precedes thisUpdate */
    STAPLE_OCSP_NOT_YET_VALID,     /* thisUpdate lies ahead, by more than the
                                      skew */
    STAPLE_OCSP_EXPIRED,           /* nextUpdate has passed */
    STAPLE_OCSP_TOO_OLD,           /* older than the greatest age allowed */
    STAPLE_OCSP_CONTRADICTS        /* two SingleResponses for our certificate
                                      that do not say the same */
} staple_ocsp_reason_e;

/** A reason as words that finish "the response ...", for an administrator. */
const char *staple_ocsp_reason_text(staple_ocsp_reason_e reason);

/** "good", "revoked", "unknown". */
const char *staple_ocsp_status_text(staple_ocsp_status_e status);

/** A CRLReason (RFC 5280 5.3.1) as its name; -1: "none given". */
const char *staple_ocsp_crl_reason_text(int crl_reason);

/** The longest serial number of a certificate, in octets (RFC 5280 4.1.2.2). */
#define STAPLE_OCSP_SERIAL_MAX 20

/**
 * An issuer, prepared: what a CertID says of it, and its certificate, whose key
 * is decoded when a response is judged for the first time. Any thread may use
 * it.
 */
typedef struct staple_ocsp_issuer_t staple_ocsp_issuer_t;

/**
 * @param der, len the issuer's certificate; copied
 * @param p what the issuer lives in
 * @return APR_SUCCESS, or APR_EINVAL where it is no certificate
 */
apr_status_t staple_ocsp_issuer_create(staple_ocsp_issuer_t **issuer,
                                       const unsigned char *der,
                                       apr_size_t len, apr_pool_t *p);

/**
 * A certificate that is asked about: what a CertID says of it, in about a
 * hundred bytes. Read-only once made, so any thread may use it.
 */
typedef struct staple_ocsp_subject_t staple_ocsp_subject_t;

/**
 * @param leaf not kept
 * @param issuer kept, so it must live as long as p
 * @return APR_SUCCESS, or APR_EINVAL where the issuer has another name than the
 *         leaf's issuer (RFC 6960 4.1.1 hashes one and the key of the other),
 *         or the serial number is longer than STAPLE_OCSP_SERIAL_MAX
 */
apr_status_t staple_ocsp_subject_create(staple_ocsp_subject_t **subject,
                                        const staple_x509_t *leaf,
                                        staple_ocsp_issuer_t *issuer,
                                        apr_pool_t *p);

/**
 * The DER of an OCSPRequest for one certificate, without extensions and
 * unsigned (RFC 9919 3.1). The same subject and hash give the same bytes, at
 * most 127 of them, whatever is in the certificate.
 * @param der, len the request, allocated from p
 */
apr_status_t staple_ocsp_request(const staple_ocsp_subject_t *subject,
                                 staple_ocsp_hash_e hash,
                                 const unsigned char **der, apr_size_t *len,
                                 apr_pool_t *p);

/** What the administrator allows; all spans in microseconds. */
typedef struct staple_ocsp_policy_t {
    apr_interval_time_t skew;    /* SSLStaplingResponseTimeSkew */
    apr_interval_time_t max_age; /* SSLStaplingResponseMaxAge; -1: no limit */
    apr_interval_time_t default_age; /* how long a response without nextUpdate
                                        is served, where max_age is -1 */
} staple_ocsp_policy_t;

/** What a response says, as far as it could be read. Of several answers for
 * the certificate, which all have to be current and to say the same, the older
 * thisUpdate and the sooner end. */
typedef struct staple_ocsp_verdict_t {
    staple_ocsp_reason_e reason; /* OK: all of the below is true */
    staple_ocsp_status_e status;
    apr_time_t produced_at;
    apr_time_t this_update;
    apr_time_t next_update; /* nextUpdate, or the end of the delegate's
                               certificate where that is sooner: clients refuse
                               a staple after that; 0: no end */
    apr_time_t revoked_at;  /* 0 unless revoked; 0 also where the certificate
                               was never issued (1970-01-01, RFC 6960 2.2) */
    apr_time_t signer_until; /* the delegate's notAfter; 0: the issuer signed */
    int crl_reason;         /* -1: none given */
    int is_delegated;       /* whether another than the issuer signed */
    staple_ocsp_hash_e hash; /* by which CertID it was recognised */
} staple_ocsp_verdict_t;

/**
 * Judge the bytes of a response: is it true, for this certificate, and
 * current at `now`? Every check of RFC 6960 3.2 is made; the first that fails
 * is the reason, and what was read before stays in the verdict. The times are
 * checked last, so the reasons NOT_YET_VALID, EXPIRED and TOO_OLD mean that
 * all else is well. OpenSSL's error queue is left empty.
 * @param policy spans; read, not kept
 * @return verdict->reason
 */
staple_ocsp_reason_e staple_ocsp_judge(staple_ocsp_verdict_t *verdict,
                                       const staple_ocsp_subject_t *subject,
                                       const staple_ocsp_policy_t *policy,
                                       apr_time_t now,
                                       const unsigned char *der,
                                       apr_size_t len);

/**
 * Whether it is worth while to judge a response for a certificate, of many
 * responses and many certificates: its serial number is somewhere in the bytes.
 * No more than that: nothing is parsed.
 */
int staple_ocsp_may_be_about(const staple_ocsp_subject_t *subject,
                             const unsigned char *der, apr_size_t len);

/**
 * The moments between which a response may be served: from thisUpdate less
 * the skew, to nextUpdate (never after it), or thisUpdate plus max_age where
 * that is sooner; without nextUpdate to thisUpdate plus max_age, or plus
 * default_age. Serve at t with from <= t < until. Plain arithmetic.
 */
void staple_ocsp_window(const staple_ocsp_policy_t *policy,
                        apr_time_t this_update, apr_time_t next_update,
                        apr_time_t *from, apr_time_t *until);

/** OK, NOT_YET_VALID, EXPIRED or TOO_OLD: the times of a judgement alone. */
staple_ocsp_reason_e staple_ocsp_is_current(const staple_ocsp_policy_t *policy,
                                            apr_time_t this_update,
                                            apr_time_t next_update,
                                            apr_time_t now);

/**
 * A time of a certificate or a response, in either form of RFC 5280 4.1.2.5.
 * @return whether it could be read: NULL cannot, nor what lies before 1970
 */
int staple_ocsp_read_time(const ASN1_TIME *text, apr_time_t *result);

/**
 * A response made of nothing but an error's status (RFC 6960 4.2.1): constant
 * bytes. What a responder sends is not signed, so no byte of it is stapled.
 * @param reason from MALFORMED_REQUEST to UNAUTHORIZED; of others, NULL
 */
const unsigned char *staple_ocsp_error(staple_ocsp_reason_e reason,
                                       apr_size_t *len);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_OCSP_H */
