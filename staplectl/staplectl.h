/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLECTL_H
#define STAPLECTL_H

/*
 * The inside of staplectl, the command line: a program of its own that links
 * the module's rooms it needs and is never part of the server. Its files:
 *
 *   staplectl/main.c   options and commands
 *   staplectl/certs.c  certificate files, to name and to judge by
 *   staplectl/ring.c   a ring file becomes entries
 *   staplectl/tls.c    a handshake with a server becomes an entry
 *   staplectl/entry.c  an entry is judged and named
 *   staplectl/check.c  an entry becomes a severity, for monitoring
 *   staplectl/words.c  the words for values
 *   staplectl/print.c  entries become text,
 *   staplectl/json.c   and JSON
 *
 * One thread; everything lives in the pool of the process.
 */

#include <apr_network_io.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include <openssl/x509.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The exit statuses, those of monitoring plug-ins. */
typedef enum {
    STAPLECTL_OK = 0,
    STAPLECTL_WARNING = 1,
    STAPLECTL_CRITICAL = 2,
    STAPLECTL_UNKNOWN = 3 /* nothing could be found out */
} staplectl_exit_e;

/** What becomes of a handshake about a certificate, in order of trouble. */
typedef enum {
    STAPLECTL_STAPLED,  /* a good response is stapled */
    STAPLECTL_NEEDLESS, /* OCSP does not apply to the certificate */
    STAPLECTL_PENDING,  /* one waits to be verified by the server */
    STAPLECTL_WAITING,  /* none is held, and none was asked for yet */
    STAPLECTL_ERROR,    /* a responder's error is stapled */
    STAPLECTL_EXPIRED,  /* what is held may not be served now */
    STAPLECTL_MISSING,  /* none is held */
    STAPLECTL_UNTRUE,   /* what is held is no true response */
    STAPLECTL_REVOKED   /* the response says revoked */
} staplectl_verdict_e;

/** What a response says of itself, read without being judged. */
typedef struct staplectl_response_t {
    const char *serial;    /* hexadecimal, of the first certificate in it */
    const char *responder; /* its name or "key HASH" */
    const char *algorithm; /* of the signature */
    apr_time_t produced_at;
    apr_time_t revoked_at; /* 0: not revoked */
    int crl_reason;        /* -1: none */
} staplectl_response_t;

/** One certificate: what the ring holds, or a handshake brought. */
typedef struct staplectl_entry_t {
    const unsigned char *id;       /* STAPLE_ID_LEN bytes */
    const char *host;              /* what the ring calls it, printable: its
                                      first virtual host; "": nothing */
    const staple_cert_t *cert;     /* NULL: no certificate file was given */
    X509 *leaf;                    /* of cert, or NULL */
    int is_judged;                 /* whether the issuer is known as well */
    staple_ocsp_reason_e reason;   /* if it is: why it is not to be believed */
    staplectl_verdict_e verdict;
    const unsigned char *der;      /* NULL: none is held */
    apr_size_t der_len;
    staple_cache_meta_t meta;      /* if one is held */
    apr_time_t until;              /* until when it may be served */
    const staplectl_response_t *response; /* NULL: not a basic response */
    int has_state;                 /* whether state is known: not by TLS */
    staple_cache_state_t state;
} staplectl_entry_t;

/** What a ring file holds at one moment. */
typedef struct staplectl_ring_t {
    const char *path;
    apr_time_t written; /* when the file was: a server at work writes its time
                           every ten seconds at the latest; 0: not known */
    staple_cache_usage_t usage;
    staple_cache_share_t share;
    apr_array_header_t *entries; /* staplectl_entry_t: one a slot, then one for
                                    each certificate given that has none */
} staplectl_ring_t;

/* ----- staplectl/certs.c ----- */

/** Certificates out of files, to judge the entries of a ring by. */
typedef struct staplectl_certs_t staplectl_certs_t;

staplectl_certs_t *staplectl_certs_make(apr_pool_t *p);

/**
 * Add all certificates of a PEM file. Those of authorities serve as issuers,
 * whatever file they are in.
 * @return NULL, or what is wrong, for the user
 */
const char *staplectl_certs_load(staplectl_certs_t *certs, const char *path);

/** Add one certificate; it is referenced. */
void staplectl_certs_add(staplectl_certs_t *certs, X509 *x);

/** All files are loaded: find each certificate's issuer. */
const char *staplectl_certs_finish(staplectl_certs_t *certs);

/** A certificate of a server, out of a file or a handshake. */
typedef struct staplectl_leaf_t {
    X509 *leaf;
    X509 *issuer; /* NULL: in none of the files */
    const staple_cert_t *cert;
} staplectl_leaf_t;

/** The leaves, staplectl_leaf_t, once all files are loaded. */
const apr_array_header_t *staplectl_certs_leaves(
    const staplectl_certs_t *certs);

/** The leaf of an id of STAPLE_ID_LEN bytes; NULL: there is none. */
const staplectl_leaf_t *staplectl_certs_find(const staplectl_certs_t *certs,
                                             const unsigned char *id);

/** Make an entry without a response of the first certificate that is not an
 * authority's.
 * @return whether there is one */
int staplectl_certs_first(const staplectl_certs_t *certs,
                          staplectl_entry_t *entry);

/* ----- staplectl/ring.c ----- */

/**
 * Read a ring file as it is now, once more where the server replaced it, or
 * wrote to it, meanwhile.
 * @return NULL, or what is wrong, for the user
 */
const char *staplectl_ring_load(staplectl_ring_t **ring, const char *path,
                                const staplectl_certs_t *certs,
                                apr_time_t now, apr_pool_t *p);

/* ----- staplectl/entry.c ----- */

/** The policy by which is judged where the directives are not known: that of
 * a server where they say nothing. */
staple_cert_policy_t staplectl_usual_policy(apr_pool_t *p);

/** Say whose entry it is: fill in id, cert, leaf and is_judged. */
void staplectl_entry_set_cert(staplectl_entry_t *entry,
                              const staplectl_leaf_t *leaf);

/** Fill in response, reason, until and verdict of an entry that has id, cert,
 * der and meta. */
void staplectl_entry_judge(staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p);

/**
 * Whether an entry is meant by what a user wrote: the virtual host by whose
 * name the ring knows it, with or without its port; a name that its
 * certificate is valid for; its serial, or its id or the beginning of it (8
 * digits at least), hexadecimal with or without colons.
 */
int staplectl_entry_matches(const staplectl_entry_t *entry,
                            const char *pattern, apr_pool_t *p);

/** The best name for an entry: the certificate's, else what is known. */
const char *staplectl_entry_name(const staplectl_entry_t *entry,
                                 apr_pool_t *p);

/** The serial in hexadecimal, or "". */
const char *staplectl_entry_serial(const staplectl_entry_t *entry);

/* ----- staplectl/check.c ----- */

/** How little may be left of a response's validity. */
typedef struct staplectl_limit_t {
    apr_interval_time_t span; /* less than this, */
    int percent;              /* or if that is -1 less than this part */
} staplectl_limit_t;

typedef struct staplectl_limits_t {
    staplectl_limit_t warning;
    staplectl_limit_t critical;
} staplectl_limits_t;

/** Read "36h", "2d", "90m", "600" (seconds) or "25%".
 * @return whether it is one of these */
int staplectl_limit_parse(staplectl_limit_t *limit, const char *text);

/**
 * How bad an entry is, and in words why, to follow the certificate's name.
 * @param words allocated from p
 */
staplectl_exit_e staplectl_check(const staplectl_entry_t *entry,
                                 const staplectl_limits_t *limits,
                                 apr_time_t now, const char **words,
                                 apr_pool_t *p);

/* ----- staplectl/words.c ----- */

/** A verdict as one word: "stapled". */
const char *staplectl_verdict_word(staplectl_verdict_e verdict);

/** A SHA-1 fingerprint, hexadecimal with colons. */
const char *staplectl_id_text(const unsigned char *id, apr_pool_t *p);

/** What a judged entry's response is worth. */
const char *staplectl_judgement_text(const staplectl_entry_t *entry,
                                     apr_pool_t *p);

/** "2026-03-01 12:00:00 UTC", or "never". */
const char *staplectl_time_text(apr_time_t t, apr_pool_t *p);

/* ----- staplectl/print.c ----- */

void staplectl_print_list(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries, apr_time_t now,
                          apr_pool_t *p);
void staplectl_print_entry(const staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p);
/** The response in OpenSSL's words. */
void staplectl_print_response(const staplectl_entry_t *entry, apr_pool_t *p);

/* ----- staplectl/json.c ----- */

/** @param ring NULL: the entries do not come from one */
void staplectl_print_json(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries,
                          const staplectl_limits_t *limits, apr_time_t now,
                          apr_pool_t *p);

/* ----- staplectl/tls.c ----- */

/** Whom to ask for a handshake. */
typedef struct staplectl_target_t {
    const char *host;
    apr_port_t port;
    const char *name; /* for SNI; NULL: none */
    apr_interval_time_t timeout; /* for all of it */
} staplectl_target_t;

/**
 * Shake hands, asking for a staple (RFC 6066 8), and hang up. The server's
 * certificates are added to certs; none of them is verified.
 * @param der, len the staple, allocated from p; NULL: none was sent
 * @return NULL, or what went wrong, for the user
 */
const char *staplectl_tls_ask(const staplectl_target_t *target,
                              staplectl_certs_t *certs,
                              const unsigned char **der, apr_size_t *len,
                              apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLECTL_H */
