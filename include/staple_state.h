/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_STATE_H
#define STAPLE_STATE_H

/*
 * The states of a certificate, the one vocabulary in which everything speaks
 * that shows or reports one: the status page, JSON, metrics, staplectl, the
 * preflight, the program of StapleMessageCmd and the log. For each: its name,
 * its words, what it means, how grave it is; and for each way in which an
 * exchange can fail, who has to do with it and what to do.
 *
 * No log, no clock, no httpd: facts go in, words come out. All words are
 * constants unless a pool is given.
 */

#include <apr_pools.h>
#include <apr_time.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a client gets that asks for a certificate's status; the most urgent
 * first. */
typedef enum {
    STAPLE_STATE_REFUSED,  /* nothing, and the certificate is must-staple */
    STAPLE_STATE_REVOKED,  /* a response that says revoked */
    STAPLE_STATE_INVALID,  /* a response that is not to be believed */
    STAPLE_STATE_ERROR,    /* a responder's error */
    STAPLE_STATE_EXPIRING, /* a response that ends soon; nothing newer came */
    STAPLE_STATE_MISSING,  /* nothing: none could be had */
    STAPLE_STATE_NO_ROOM,  /* nothing: the ring has no place for it */
    STAPLE_STATE_TOO_OLD,  /* nothing: what the CA gives is over StapleMaxAge */
    STAPLE_STATE_PENDING,  /* nothing yet: one is held and not yet verified */
    STAPLE_STATE_WAITING,  /* nothing yet: the first exchange has not ended */
    STAPLE_STATE_FAILING,  /* a valid response; the last attempts failed */
    STAPLE_STATE_STAPLED,  /* a valid response; all is well */
    STAPLE_STATE_NOT_APPLICABLE, /* nothing: OCSP does not apply to it */
    STAPLE_STATES          /* how many there are */
} staple_state_e;

/** How grave it is; the values are the exit statuses of monitoring plug-ins. */
typedef enum {
    STAPLE_SEVERITY_OK,
    STAPLE_SEVERITY_WARNING, /* clients get what they should, or soon will */
    STAPLE_SEVERITY_CRITICAL
} staple_severity_e;

/** A state for programs: "not_applicable". */
const char *staple_state_name(staple_state_e state);

/** A state for people: "not applicable". */
const char *staple_state_text(staple_state_e state);

/** What it means, a sentence. */
const char *staple_state_meaning(staple_state_e state);

staple_severity_e staple_state_severity(staple_state_e state);

/** Whether somebody should look: all but STAPLE_SEVERITY_OK. */
int staple_state_needs_attention(staple_state_e state);

/** The state of a name; STAPLE_STATES: there is none of that name. */
staple_state_e staple_state_of_name(const char *name);

/** "ok", "warning" or "critical". */
const char *staple_severity_name(staple_severity_e severity);

/** What is known of a certificate itself, whatever is held: of a certificate
 * that was read, or out of a ring, which keeps it in its signs. */
typedef struct staple_state_traits_t {
    int is_known;       /* 0: all the rest is 0, and says nothing */
    int is_must_staple;
    int has_urls;       /* whether there is a responder to ask */
    int has_issuer_urls; /* whether its issuer is to be fetched */
    int has_refused_urls; /* whether URLs in it are left out: they are none */
    int is_of_chain;    /* it is a CA's, and here because of StapleChain */
    staple_cert_scope_e scope;
    apr_time_t not_after; /* 0: not known */
} staple_state_traits_t;

void staple_state_traits_of(staple_state_traits_t *traits,
                            const staple_cert_t *cert);

/** The signs in which the ring keeps them, and back. Any signs give traits. */
apr_uint32_t staple_state_pack(const staple_state_traits_t *traits);
void staple_state_unpack(staple_state_traits_t *traits,
                         const staple_cache_about_t *about);

/** What is known of a certificate when its state is worked out. */
typedef struct staple_state_facts_t {
    apr_time_t now;
    const staple_state_traits_t *traits;
    const staple_cert_policy_t *policy; /* by which it is served */
    const staple_cache_state_t *exchange; /* how the refresh stands */
    const staple_cache_meta_t *held; /* of the response; NULL: none is held */
    staple_ocsp_reason_e reason; /* why it is not to be believed, where it was
                                    judged again; else STAPLE_OCSP_OK */
    int has_slot;              /* whether the ring has a place for it */
    int is_pending;            /* what is held waits to be verified */
} staple_state_facts_t;

/** The state of a certificate. */
staple_state_e staple_state_judge(const staple_state_facts_t *facts);

/** Whom a failure points to, and a remedy: a phrase that follows "Look at". */
typedef struct staple_state_advice_t {
    const char *who;    /* "the network"; "": there is nothing to do */
    const char *remedy; /* "allow outbound TCP to ..."; "" */
} staple_state_advice_t;

/**
 * What to do about a state.
 * @param exchange how the refresh stands, which says why it fails
 * @param url the responder that was asked, put into commands that can be
 *        pasted; NULL: it is not known
 */
staple_state_advice_t staple_state_advise(staple_state_e state,
                                          const staple_cache_state_t *exchange,
                                          const char *url, apr_pool_t *p);

/** The same for the failure of an exchange alone, whatever is held. */
staple_state_advice_t staple_state_advise_failure(
    const staple_cache_state_t *exchange, const char *url, apr_pool_t *p);

/** The kind of an exchange's failure, which staple_cache_count_failure counts.
 * @return 0: it does not fail */
unsigned int staple_state_failure(const staple_cache_state_t *exchange);

/** A kind of failure for programs: "connect_timeout".
 * @return NULL: there is no such kind */
const char *staple_state_failure_name(unsigned int kind);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_STATE_H */
