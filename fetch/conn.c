/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fetch engine's connections. What lives here: sockets, their place in the
 * pollset, and which of them are idle. What does not: bytes, and deadlines.
 *
 * The one idea: a connection outlives its owner on either side. It is kept
 * when its exchange is over, and it stays in memory when it is closed, because
 * an event that was collected before may still name it.
 */

#include "conn.h"

#include <string.h>

#include <sys/socket.h>

#include <apr_portable.h>
#include <apr_strings.h>

void staple_fetch_conn_init(staple_fetch_conns_t *conns, apr_pool_t *p,
                            apr_pollset_t *pollset, int most_idle)
{
    conns->pool = p;
    conns->pollset = pollset;
    conns->most_idle = most_idle;
    APR_RING_INIT(&conns->live, conn_t, link);
    APR_RING_INIT(&conns->dead, conn_t, link);
}

const char *staple_fetch_conn_peer(char peer[STAPLE_FETCH_PEER_LEN],
                                   const char *ip, apr_uint16_t port)
{
    apr_snprintf(peer, STAPLE_FETCH_PEER_LEN,
                 strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
    return peer;
}

static void unwatch(staple_fetch_conns_t *conns, conn_t *conn)
{
    if (conn->pfd.reqevents) {
        apr_pollset_remove(conns->pollset, &conn->pfd);
        conn->pfd.reqevents = 0;
    }
}

apr_status_t staple_fetch_conn_watch(staple_fetch_conns_t *conns,
                                     conn_t *conn, apr_int16_t events)
{
    apr_status_t rv;

    if (conn->pfd.reqevents == events) {
        return APR_SUCCESS;
    }
    unwatch(conns, conn);
    conn->pfd.desc_type = APR_POLL_SOCKET;
    conn->pfd.desc.s = conn->socket;
    conn->pfd.client_data = conn;
    conn->pfd.reqevents = events;
    rv = apr_pollset_add(conns->pollset, &conn->pfd);
    if (rv != APR_SUCCESS) {
        conn->pfd.reqevents = 0;
    }
    return rv;
}

void staple_fetch_conn_close(staple_fetch_conns_t *conns, conn_t *conn)
{
    unwatch(conns, conn);
    apr_socket_close(conn->socket);
    conn->state = STAPLE_FETCH_CONN_DEAD;
    conn->owner = NULL;
    APR_RING_REMOVE(conn, link);
    APR_RING_INSERT_TAIL(&conns->dead, conn, conn_t, link);
}

void staple_fetch_conn_free_closed(staple_fetch_conns_t *conns)
{
    while (!APR_RING_EMPTY(&conns->dead, conn_t, link)) {
        conn_t *conn = APR_RING_FIRST(&conns->dead);

        APR_RING_REMOVE(conn, link);
        apr_pool_destroy(conn->pool);
    }
}

void staple_fetch_conn_lend(conn_t *conn, struct attempt_t *owner)
{
    conn->is_reused = conn->state == STAPLE_FETCH_CONN_IDLE;
    conn->state = STAPLE_FETCH_CONN_BUSY;
    conn->owner = owner;
}

void staple_fetch_conn_close_idle(staple_fetch_conns_t *conns,
                                  apr_time_t then)
{
    conn_t *conn, *next;

    APR_RING_FOREACH_SAFE(conn, next, &conns->live, conn_t,
                          link) {
        if (conn->state == STAPLE_FETCH_CONN_IDLE
            && conn->idle_since <= then) {
            staple_fetch_conn_close(conns, conn);
        }
    }
}

void staple_fetch_conn_keep(staple_fetch_conns_t *conns, conn_t *conn,
                            apr_time_t now)
{
    conn_t *other, *oldest = NULL;
    int count = 0;

    if (staple_fetch_conn_watch(conns, conn, APR_POLLIN) != APR_SUCCESS) {
        staple_fetch_conn_close(conns, conn);
        return;
    }
    conn->owner = NULL;
    conn->state = STAPLE_FETCH_CONN_IDLE;
    conn->idle_since = now;
    APR_RING_REMOVE(conn, link);
    APR_RING_INSERT_HEAD(&conns->live, conn, conn_t, link);
    APR_RING_FOREACH(other, &conns->live, conn_t, link) {
        if (other->state == STAPLE_FETCH_CONN_IDLE) {
            oldest = other;
            count++;
        }
    }
    if (count > conns->most_idle) {
        staple_fetch_conn_close(conns, oldest);
    }
}

conn_t *staple_fetch_conn_find(const staple_fetch_conns_t *conns,
                               const char *peer)
{
    conn_t *conn;

    APR_RING_FOREACH(conn, &conns->live, conn_t, link) {
        if (conn->state == STAPLE_FETCH_CONN_IDLE
            && !strcmp(conn->peer, peer)) {
            return conn;
        }
    }
    return NULL;
}

int staple_fetch_conn_count(const staple_fetch_conns_t *conns,
                            const char *peer)
{
    const conn_t *conn;
    int count = 0;

    APR_RING_FOREACH(conn, &conns->live, conn_t, link) {
        count += conn->owner && !strcmp(conn->peer, peer);
    }
    return count;
}

static apr_status_t connect_socket(conn_t *conn,
                                   const staple_fetch_endpoint_t *endpoint,
                                   apr_uint16_t port)
{
    apr_sockaddr_t *sa;
    apr_status_t rv;

    rv = apr_sockaddr_info_get(&sa, endpoint->ip, endpoint->family, port, 0,
                               conn->pool);
    if (rv == APR_SUCCESS) {
        rv = apr_socket_create(&conn->socket, endpoint->family, SOCK_STREAM,
                               APR_PROTO_TCP, conn->pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_socket_opt_set(conn->socket, APR_TCP_NODELAY, 1);
    rv = apr_socket_timeout_set(conn->socket, 0);
    return rv == APR_SUCCESS ? apr_socket_connect(conn->socket, sa) : rv;
}

apr_status_t staple_fetch_conn_open(staple_fetch_conns_t *conns,
                                    struct attempt_t *owner,
                                    const staple_fetch_endpoint_t *endpoint,
                                    apr_uint16_t port, conn_t **made)
{
    apr_pool_t *pool;
    conn_t *conn;
    apr_status_t rv, watched;

    rv = apr_pool_create(&pool, conns->pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    conn = apr_pcalloc(pool, sizeof(*conn));
    conn->magic = CONN_MAGIC;
    conn->pool = pool;
    rv = connect_socket(conn, endpoint, port);
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EINPROGRESS(rv)) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_cpystrn(conn->ip, endpoint->ip, sizeof(conn->ip));
    staple_fetch_conn_peer(conn->peer, conn->ip, port);
    conn->state = STAPLE_FETCH_CONN_CONNECTING;
    conn->owner = owner;
    APR_RING_INSERT_TAIL(&conns->live, conn, conn_t, link);
    if (rv != APR_SUCCESS) {
        watched = staple_fetch_conn_watch(conns, conn, APR_POLLOUT);
        if (watched != APR_SUCCESS) {
            staple_fetch_conn_close(conns, conn);
            return watched;
        }
    }
    *made = conn;
    return rv == APR_SUCCESS ? APR_SUCCESS : APR_EINPROGRESS;
}

apr_status_t staple_fetch_conn_result(const conn_t *conn)
{
    apr_os_sock_t fd;
    int error = 0;
    socklen_t len = sizeof(error);

    if (apr_os_sock_get(&fd, conn->socket) != APR_SUCCESS
        || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len)) {
        return APR_EGENERAL;
    }
    return error ? APR_FROM_OS_ERROR(error) : APR_SUCCESS;
}
