/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_CONN_H
#define STAPLE_FETCH_CONN_H

/*
 * The connections of the fetch engine: made without waiting, lent to one owner
 * (an attempt) at a time, kept while idle, and closed. Nothing here reads,
 * writes, or decides who is connected to. Used in the engine's thread.
 */

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include <apr_network_io.h>
#include <apr_poll.h>
#include <apr_pools.h>
#include <apr_ring.h>
#include <apr_time.h>

#include "staple_magic.h"
#include "dns.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of a peer as text: "[" IPv6 "]:65535". */
#define STAPLE_FETCH_PEER_LEN 56

/** Where a connection stands, in order of its life. */
typedef enum {
    STAPLE_FETCH_CONN_CONNECTING, /* an attempt of its owner */
    STAPLE_FETCH_CONN_BUSY,       /* carries what its owner asks */
    STAPLE_FETCH_CONN_IDLE,       /* kept for another one */
    STAPLE_FETCH_CONN_DEAD        /* closed; a stale event may still name it */
} staple_fetch_conn_e;

/** Who a connection is lent to (fetch/fetch_int.h). */
struct attempt_t;

#define CONN_MAGIC 0x434F4E4Eu

/** A connection; the client_data of its events. */
typedef struct conn_t conn_t;
struct conn_t {
    staple_magic_t magic;
    APR_RING_ENTRY(conn_t) link; /* in live, or in dead */
    apr_pool_t *pool;
    apr_socket_t *socket;
    apr_pollfd_t pfd;       /* reqevents: 0 while not in the pollset */
    staple_fetch_conn_e state;
    struct attempt_t *owner; /* NULL: idle, or dead */
    int is_reused;          /* whether it had another owner before */
    apr_time_t idle_since;
    char ip[INET6_ADDRSTRLEN];
    char peer[STAPLE_FETCH_PEER_LEN]; /* ip and port: which ones are alike */
};
APR_RING_HEAD(staple_fetch_conn_ring_t, conn_t);

/** All connections of an engine. */
typedef struct staple_fetch_conns_t {
    apr_pool_t *pool;       /* of their pools */
    apr_pollset_t *pollset;
    int most_idle;          /* so many are kept */
    struct staple_fetch_conn_ring_t live;
    struct staple_fetch_conn_ring_t dead; /* freed when no event can name
                                             them */
} staple_fetch_conns_t;

void staple_fetch_conn_init(staple_fetch_conns_t *conns, apr_pool_t *p,
                            apr_pollset_t *pollset, int most_idle);

/** An address and port as a peer; returns peer. */
const char *staple_fetch_conn_peer(char peer[STAPLE_FETCH_PEER_LEN],
                                   const char *ip, apr_uint16_t port);

/**
 * Begin to connect, for owner.
 * @param made set unless there was an error
 * @return APR_SUCCESS where that is done already, APR_EINPROGRESS (an event
 *         will tell that it has ended), or why not
 */
apr_status_t staple_fetch_conn_open(staple_fetch_conns_t *conns,
                                    struct attempt_t *owner,
                                    const staple_fetch_endpoint_t *endpoint,
                                    apr_uint16_t port,
                                    conn_t **made);

/** How an attempt that was in progress has ended. */
apr_status_t staple_fetch_conn_result(const conn_t *conn);

/** Lend a connection that is there. */
void staple_fetch_conn_lend(conn_t *conn, struct attempt_t *owner);

/** Wait for these events of it; 0: for none. */
apr_status_t staple_fetch_conn_watch(staple_fetch_conns_t *conns,
                                     conn_t *conn,
                                     apr_int16_t events);

/** Take it from its owner, for whoever is next; too many, and the one that
 * stood idle longest goes. */
void staple_fetch_conn_keep(staple_fetch_conns_t *conns,
                            conn_t *conn, apr_time_t now);

/** Close it; its memory goes with the next staple_fetch_conn_free_closed. */
void staple_fetch_conn_close(staple_fetch_conns_t *conns,
                             conn_t *conn);

/** Close those that stand idle since `then`, or before. */
void staple_fetch_conn_close_idle(staple_fetch_conns_t *conns,
                                  apr_time_t then);

/** An idle connection to that peer; NULL: there is none. */
conn_t *
staple_fetch_conn_find(const staple_fetch_conns_t *conns, const char *peer);

/** How many to that peer are owned. */
int staple_fetch_conn_count(const staple_fetch_conns_t *conns,
                            const char *peer);

/** Free what was closed; when no event of before can be looked at any more. */
void staple_fetch_conn_free_closed(staple_fetch_conns_t *conns);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_CONN_H */
