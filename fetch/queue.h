/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_QUEUE_H
#define STAPLE_FETCH_QUEUE_H

/*
 * The queue of the fetch engine: who waits for whom, whose turn it is, and the
 * circuit breakers that decide it. It knows no exchange and no job: what waits
 * is a waiter, and a turn that is taken is a count. Moments are parameters.
 * Used in the engine's thread.
 *
 * A job embeds a waiter (fetch/fetch_int.h); fetch/queue.c has the
 * rules.
 */

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_ring.h>
#include <apr_time.h>

#include "staple_fetch.h"
#include "address.h"
#include "conn.h"
#include "staple_url.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Failures in a row after which a site or a responder counts as down, and
 * exchanges at a time for one that has yet to answer: two, so that one bad
 * certificate neither holds up nor condemns the responder of all others. */
#define STAPLE_FETCH_PROBES 2

/** How an exchange failed, in a form that outlives it. */
typedef struct failure_t {
    staple_fetch_outcome_e outcome;
    int http_status;
    int url_index;
    apr_time_t retry_at; /* from Retry-After, by the engine's clock; 0: none */
    apr_interval_time_t resolve_took; /* as in staple_fetch_answer_t */
    apr_interval_time_t connect_took;
    apr_interval_time_t wait_took;
    char peer[STAPLE_FETCH_PEER_LEN];
    char reason[240];
} failure_t;

/** The circuit breaker of a site or a responder. */
typedef struct health_t {
    int is_proven;      /* whether it has answered before */
    int failures;       /* in a row, weighed (fetch/queue.c); from some number
                           on it is down */
    apr_time_t rest_to; /* when a probe may be sent, if it is down */
    apr_time_t rest_all_to; /* the same, for what is not suspect */
    failure_t last; /* of those in a row */
} health_t;

/** What waits. */
typedef struct waiter_t waiter_t;
struct waiter_t {
    APR_RING_ENTRY(waiter_t) link;
    int has_other; /* whether it has another responder to go to */
    int is_suspect; /* as in staple_fetch_job_t */
};
APR_RING_HEAD(staple_fetch_waiter_ring_t, waiter_t);

/** Whether a site answers a second request on one connection. Some do not, and
 * do not close it either. */
typedef enum {
    STAPLE_FETCH_REUSE_UNKNOWN,
    STAPLE_FETCH_REUSE_WORKS,
    STAPLE_FETCH_REUSE_FAILS   /* connections are closed behind each answer */
} staple_fetch_reuse_e;

/** A URL that is asked, and behind it what waits for it. */
typedef struct responder_t responder_t;
struct responder_t {
    APR_RING_ENTRY(responder_t) link; /* in its site's waiting, if
                                         anything waits */
    site_t *site;
    struct staple_fetch_waiter_ring_t waiters;
    int active;           /* turns under way */
    int prefers_post;     /* what worked last, where GET was possible; the
                             engine's */
    health_t health;      /* by its answers, or their lack */
    char key[];           /* URL, and proxy if any */
};
APR_RING_HEAD(staple_fetch_responder_ring_t, responder_t);

/** A host and port, perhaps behind a proxy, where connections are made to. */
struct site_t {
    APR_RING_ENTRY(site_t) link; /* in the queue's waiting, if
                                    anything waits */
    struct staple_fetch_responder_ring_t waiting;
    int active;           /* turns under way */
    int window;           /* how many may be: grows with each answer */
    apr_time_t idle_since;
    int users;            /* responders of it, and exchanges at it: the latter
                             are counted by the engine */
    int is_proxied;
    apr_uint16_t port;    /* to connect to: the proxy's, if any */
    const char *host;     /* likewise; behind the key */
    int is_address;       /* whether host needs no look-up */
    health_t health;      /* by resolving and connecting */
    int is_looked_up;     /* whether a look-up is under way; the engine's */
    apr_time_t fresh_to;  /* until when a name's endpoints are believed */
    addresses_t addresses; /* those allowed; the engine's, but
                              for what a name was resolved to */
    char refused_ip[INET6_ADDRSTRLEN]; /* the last that was not, */
    const char *refusal;  /* and why, a constant phrase; NULL: there was none */
    staple_fetch_reuse_e reuse; /* of its connections; the engine's */
    char key[];           /* host:port, and proxy if any */
};
APR_RING_HEAD(staple_fetch_site_ring_t, site_t);

/** A turn under way: an exchange's place. */
typedef struct staple_fetch_turn_t {
    responder_t *responder;
    int is_probe; /* whether it counts against the unproven */
    int is_aside; /* whether it has given its place to others */
} staple_fetch_turn_t;

/** The queue; read by the engine, changed by the functions below only. */
typedef struct queue_t {
    const staple_fetch_conf_t *conf;
    const staple_fetch_conns_t *conns;
    int half;          /* turns per site, connections per address */
    int active;        /* turns under way, but for those set aside */
    int probes;        /* those of them of responders not yet proven */
    int aside;         /* turns set aside */
    int waiting_sites; /* how many there are in waiting */
    struct staple_fetch_site_ring_t waiting; /* next turn first */
    apr_hash_t *sites;
    apr_hash_t *responders;
} queue_t;

/**
 * @param conf, conns kept by reference
 * @param p of the hash tables; everything else is malloc's, see _free
 */
void staple_fetch_queue_init(queue_t *queue,
                             const staple_fetch_conf_t *conf,
                             const staple_fetch_conns_t *conns,
                             apr_pool_t *p);

/** Free all sites and responders; the queue must not be used any more. */
void staple_fetch_queue_free(queue_t *queue);

/**
 * The site of a URL; behind a proxy each host still has one of its own. Made
 * if it is new; it lives while it has users, and then some.
 * @return NULL: no memory
 */
site_t *
staple_fetch_queue_site(queue_t *queue,
                        const staple_url_t *url,
                        const staple_url_t *proxy, apr_pool_t *ptemp);

/** The responder of a URL, likewise; it lives while it has waiters or turns. */
responder_t *
staple_fetch_queue_responder(queue_t *queue,
                             const staple_url_t *url,
                             const staple_url_t *proxy,
                             apr_pool_t *ptemp);

/** Let it wait for that responder, behind all others. */
void staple_fetch_queue_add(queue_t *queue,
                            responder_t *responder,
                            waiter_t *waiter);

/**
 * Whose turn it is, or whose first waiter need not wait any longer.
 * @param refusal set to the reason in the latter case: its responder is down
 *        and is not asked now; else NULL
 * @return NULL: everybody has to wait
 */
responder_t *
staple_fetch_queue_next(const queue_t *queue, apr_time_t now,
                        const failure_t **refusal);

/** Take out the first that waits; its responder and site go behind all
 * others. */
waiter_t *
staple_fetch_queue_take(queue_t *queue,
                        responder_t *responder);

/** Take out any that waits; NULL: nobody does. */
waiter_t *staple_fetch_queue_take_any(queue_t *queue);

/** A turn begins. */
void staple_fetch_queue_enter(queue_t *queue,
                              responder_t *responder,
                              apr_time_t now, staple_fetch_turn_t *turn);

/**
 * A turn that takes long gives its place to others, and goes on.
 * @return whether it could: only so many may
 */
int staple_fetch_queue_set_aside(queue_t *queue,
                                 staple_fetch_turn_t *turn);

/** A turn has ended. */
void staple_fetch_queue_leave(queue_t *queue,
                              const staple_fetch_turn_t *turn,
                              apr_time_t now);

/** Whether the responder, or its site, counts as down. */
int staple_fetch_queue_is_down(const responder_t *responder);

/** Whether a turn may be set aside at once. */
int staple_fetch_queue_has_room_aside(const queue_t *queue);

/** The responder has answered: the room that its site has earned grows. */
void staple_fetch_queue_note_answer(const queue_t *queue,
                                    responder_t *responder);

/**
 * The responder has failed to answer.
 * @param is_suspect whether what was asked is: then it rests for its like alone
 */
void staple_fetch_queue_note_failure(responder_t *responder,
                                     const failure_t *failure,
                                     int is_suspect, apr_time_t now);

/** A connection to the site was made. */
void staple_fetch_queue_note_reached(site_t *site);

/** The site could not be reached: its room goes, its name is asked anew. */
void staple_fetch_queue_note_unreached(site_t *site,
                                       const failure_t *failure,
                                       apr_time_t now);

/** Give a site what its name was resolved to, less what is denied; none left
 * means denied. */
void staple_fetch_queue_set_endpoints(const queue_t *queue,
                                      site_t *site,
                                      const staple_fetch_endpoint_t *endpoints,
                                      int count, apr_time_t now);

/** Whether the site's endpoints can be used as they are. */
int staple_fetch_queue_is_resolved(const site_t *site,
                                   apr_time_t now);

/** Why an address of a host may not be asked at all; NULL: it may. */
const char *staple_fetch_queue_refusal(const queue_t *queue,
                                       const char *host,
                                       const staple_fetch_endpoint_t *endpoint,
                                       apr_uint16_t port);

/** Whether an address has all the connections that it may be given. A proxy
 * is not a responder: behind it the sites are counted. */
int staple_fetch_queue_is_full(const queue_t *queue,
                               const site_t *site,
                               const char *ip);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_QUEUE_H */
