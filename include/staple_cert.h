/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CERT_H
#define STAPLE_CERT_H

/*
 * What is stapled: one record for each distinct certificate of the
 * configuration, shared by the virtual hosts that use it.
 *
 * A registry is filled while mod_ssl hands over its certificates (the prime
 * hook, in the parent, before any child exists) and is read-only from then
 * on, so any thread of any child may look things up without a lock.
 */

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "staple_id.h"
#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Whether OCSP has anything to say about a certificate. */
typedef enum {
    STAPLE_CERT_APPLIES,      /* it is asked for, or read from a file, and
                                 stapled */
    STAPLE_CERT_NO_RESPONDER, /* no OCSP URI, none configured: normal
                                 since 2025 */
    STAPLE_CERT_NO_REV_AVAIL, /* the CA offers no revocation data (RFC 9608) */
    STAPLE_CERT_SELF_SIGNED,  /* nobody else could revoke it */
    STAPLE_CERT_NO_ISSUER,    /* its issuer's certificate, which a request and
                                 a check both need, is not known */
    STAPLE_CERT_OVERSIZED,    /* a serial number over 20 octets (RFC 5280
                                 4.1.2.2), or an endless name */
    STAPLE_CERT_WRONG_ISSUER, /* the issuer's key did not sign it */
    STAPLE_CERT_SCOPES        /* how many there are */
} staple_cert_scope_e;

/** A scope as words that finish "is not stapled: ...". */
const char *staple_cert_scope_text(staple_cert_scope_e scope);

/** Whether OCSP applies, or would if somebody mended something, such as the
 * chain. Else that nothing is stapled is no fault. */
int staple_cert_may_be_stapled(staple_cert_scope_e scope);

/** The hash of the CertIDs that are asked with: StapleCertIDHash. */
typedef enum {
    STAPLE_CERT_HASH_AUTO, /* SHA-1, and SHA-256 where that is refused */
    STAPLE_CERT_HASH_SHA1,
    STAPLE_CERT_HASH_SHA256
} staple_cert_hash_e;

/** How a certificate is asked for and served: its virtual host's directives. */
typedef struct staple_cert_policy_t {
    staple_ocsp_policy_t times;
    apr_interval_time_t timeout;     /* SSLStaplingResponderTimeout */
    apr_interval_time_t refresh_age; /* SSLStaplingStandardCacheTimeout;
                                        -1: unset */
    apr_interval_time_t retry_cap;   /* SSLStaplingErrorCacheTimeout */
    int return_errors;               /* SSLStaplingReturnResponderErrors */
    int fake_try_later;              /* SSLStaplingFakeTryLater */
    const char *force_url;           /* SSLStaplingForceURL or NULL */
    const char *proxy;               /* SSLOCSPProxyURL or NULL */
    const char *proxy_shown;         /* the same for people, or NULL */
    const char *proxy_credentials;   /* for Proxy-Authorization: a secret; NULL:
                                        none */
    apr_interval_time_t greatest_age;  /* StapleMaxAge; 0: no limit */
    int outlives_age;                /* whether a response is served all the
                                        same when it is older: must-staple */
    apr_interval_time_t revoked_recheck; /* StapleRevokedRecheck; 0: off */
    staple_cert_hash_e hash;         /* StapleCertIDHash */
    const apr_array_header_t *response_files; /* const char *, absolute:
                                        StapleResponseFile; empty: none */
    int fetch_issuer;                /* StapleFetchIssuer */
} staple_cert_policy_t;

/**
 * One certificate. Written while the configuration is read, read-only after
 * post_config but for slot. Strings are printable ASCII whatever the
 * certificate held, so they may go into a log as they are.
 */
typedef struct staple_cert_t {
    unsigned char id[STAPLE_ID_LEN];
    int slot;                  /* its place in the ring, set once the ring is
                                  there; -1: none */
    int issuer_slot;           /* the issuer's place in the ring, as slot */
    staple_cert_scope_e scope;
    int is_must_staple;        /* TLS feature status_request (RFC 7633) */
    int is_of_chain;           /* it is no site's own, but a CA's, that is sent
                                  behind the certificates of its hosts */
    int urls_refused;          /* URIs of the certificate that are left out: no
                                  URIs, over 1 KB, or behind the eighth */
    int rank;                  /* of its first virtual host */
    int entry;                 /* how many certificates came before it */
    const char *name;          /* first DNS name, else common name, else
                                  serial */
    const char *subject_dn;    /* RFC 2253 */
    const char *issuer_dn;     /* RFC 2253 */
    const char *serial;        /* hexadecimal */
    const char *key_type;      /* "RSA 2048", "EC 256", "ED25519 253" */
    apr_time_t not_after;
    const staple_ocsp_subject_t *subject; /* to judge a response by; NULL unless
                                  scope is APPLIES, or NO_RESPONDER, which
                                  other directives may have stapled; NULL too
                                  where the issuer is to be fetched, until
                                  staple_cert_adopt_issuer */
    const apr_array_header_t *issuer_urls; /* const char *: where the issuer's
                                  certificate is, as the certificate says
                                  (caIssuers); empty: it does not say, or
                                  the issuer is known */
    const unsigned char *leaf; /* the DER of the certificate; NULL: the issuer
                                  is known */
    apr_size_t leaf_len;
    const apr_array_header_t *urls; /* const char *: the responders in order */
    const apr_array_header_t *hosts; /* const char *: virtual hosts,
                                  "name:port", in order of configuration; empty
                                  until the registry is finished */
    struct server_rec *server; /* the first of them, in whose error log the
                                  certificate is spoken of; NULL: not known */
    const staple_cert_policy_t *policy; /* of that one; many certificates have
                                  the same one */
} staple_cert_t;

/** Whether OCSP does not apply because something is wrong with the certificate
 * or its chain, which somebody should mend. */
int staple_cert_is_faulty(const staple_cert_t *cert);

/** Whether a virtual host more that has the issuer would be of use. */
int staple_cert_lacks_issuer(const staple_cert_t *cert);

/** All certificates of one configuration. */
typedef struct staple_cert_registry_t staple_cert_registry_t;

/** An empty registry that lives in p. */
staple_cert_registry_t *staple_cert_registry_make(apr_pool_t *p);

/** That a virtual host uses a certificate. */
typedef struct staple_cert_use_t {
    const char *id;    /* how the TLS module names the certificate; copied */
    apr_size_t id_len;
    const char *pem;   /* the certificate's PEM, then its issuer's; where the
                          issuer is not known, the certificate itself once more:
                          scope is NO_ISSUER then, unless there is another
                          reason; of a certificate that is there already it
                          is only read where that lacks its issuer, and may
                          be NULL */
    const char *host;  /* the virtual host, "name:port"; copied */
    int rank;          /* the virtual host's place in the configuration,
                          smallest first; they may come in any order */
    int is_of_chain;   /* the certificate is a CA's, of a chain */
    const staple_cert_policy_t *policy; /* copied, once for all that are the
                          same: its unused bytes are 0. response_files is kept
                          as it is, and outlives the registry's pool */
} staple_cert_use_t;

/**
 * Add a certificate, or one more virtual host of a certificate that is there
 * already: the policy of the first one holds, and the issuer of any that has
 * it.
 * @param registry made by staple_cert_registry_make; its pool owns the record
 * @param reason on failure, what is wrong with pem
 * @return the record, or NULL
 */
staple_cert_t *staple_cert_add(staple_cert_registry_t *registry,
                               const staple_cert_use_t *use,
                               const char **reason);

/** Nothing more is added, by nobody: put the list in the order of the
 * configuration, and give back what only adding takes. */
void staple_cert_registry_finish(staple_cert_registry_t *registry);

/** The id under which the ring keeps the issuer of a certificate whose issuer
 * is to be fetched; that of nothing else. */
void staple_cert_issuer_id(const unsigned char id[STAPLE_ID_LEN],
                           unsigned char issuer_id[STAPLE_ID_LEN]);

/**
 * Take a certificate as the issuer of one that has none, if it has signed that
 * one. In the refresher's first thread.
 * @param der, len the DER of one certificate
 * @param p what the issuer lives in: as long as the process
 * @return whether it is the issuer
 */
int staple_cert_adopt_issuer(staple_cert_t *cert, const unsigned char *der,
                             apr_size_t len, apr_pool_t *p);

/** The record of an id, or NULL. Lock-free, allocates nothing. */
staple_cert_t *staple_cert_find(const staple_cert_registry_t *registry,
                                const char *id, apr_size_t id_len);

/**
 * All records, staple_cert_t *, once finished in order of configuration; lives
 * as long as the registry and must not be changed.
 */
const apr_array_header_t *
staple_cert_list(const staple_cert_registry_t *registry);

/** How many of them OCSP applies to. */
apr_size_t staple_cert_count_stapled(const staple_cert_registry_t *registry);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CERT_H */
