/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The connections: one thread for each, so that an answer held back holds
 * back nobody else.
 */

#include "responder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <openssl/crypto.h>

/* Guarded by the lock. */
static pthread_cond_t conn_gone = PTHREAD_COND_INITIALIZER;
static conn_t *conns;

static int answer_request(conn_t *c, request_t *r)
{
    settings_t s;
    BIO *answer;
    int is_last, goes_on;

    record(r, c, &s);
    if (s.delivery == DELIVERY_ONCE && c->served++) {
        s.delivery = DELIVERY_HANG_BEFORE;
    }
    is_last = r->minor ? header_has(r->head, "Connection", "close")
                       : !header_has(r->head, "Connection", "keep-alive");
    if (s.framing == FRAMING_CLOSE || s.framing == FRAMING_HTTP10) {
        is_last = 1;
    }
    answer = make_answer(r, &s, is_last);
    goes_on = deliver(c->fd, answer, &s) && !is_last;
    if (s.framing == FRAMING_OPEN && goes_on) {
        wait_for_end(c->fd);
        goes_on = 0;
    }
    BIO_free(answer);

    pthread_mutex_lock(&lock);
    load.busy--;
    pthread_mutex_unlock(&lock);
    return goes_on;
}

/* Take the connection off the list before its descriptor can be reused. */
static void end_conn(conn_t *c)
{
    pthread_mutex_lock(&lock);
    if (c->prev) {
        c->prev->next = c->next;
    }
    else {
        conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    close(c->fd);
    load.open--;
    free(c);
    pthread_cond_signal(&conn_gone);
    pthread_mutex_unlock(&lock);
}

/* What an address may do before it has read anything. Returns whether it goes
 * on. */
static int welcome(conn_t *c)
{
    settings_t s;

    pthread_mutex_lock(&lock);
    settings_for("", c->address, &s);
    pthread_mutex_unlock(&lock);
    if (s.delivery == DELIVERY_DEAF) {
        wait_for_end(c->fd);
    }
    return s.delivery != DELIVERY_DEAF && s.delivery != DELIVERY_HANGUP;
}

static void *serve(void *arg)
{
    conn_t *c = arg;
    request_t r;
    ssize_t n;
    int state, goes_on = welcome(c);

    while (goes_on) {
        state = parse_request(c, &r);
        if (state < 0) {
            break;
        }
        if (state == 0) {
            n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
            if (n <= 0) {
                break;
            }
            c->in_len += (size_t)n;
            continue;
        }
        goes_on = answer_request(c, &r);
        c->in_len -= r.total_len;
        memmove(c->in, c->in + r.total_len, c->in_len);
        free_request(&r);
    }
    OPENSSL_thread_stop();
    end_conn(c);
    return NULL;
}

void start_conn(int fd)
{
    conn_t *c = must(calloc(1, sizeof(*c)));
    struct sockaddr_storage own;
    socklen_t own_len = sizeof(own);
    pthread_attr_t attr;
    pthread_t thread;
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->fd = fd;
    if (!getsockname(fd, (struct sockaddr *)&own, &own_len)) {
        address_text(&own, c->address);
    }
    pthread_mutex_lock(&lock);
    c->number = ++load.accepted;
    c->next = conns;
    if (conns) {
        conns->prev = c;
    }
    conns = c;
    if (++load.open > load.max_open) {
        load.max_open = load.open;
    }
    pthread_mutex_unlock(&lock);

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    if (pthread_create(&thread, &attr, serve, c)) {
        end_conn(c);
    }
    pthread_attr_destroy(&attr);
}

/* Ends what goes on at an address (NULL: at all); returns how many there were.
 * The lock is held. */
static int shut_conns(const char *address)
{
    conn_t *c;
    int count = 0;

    for (c = conns; c; c = c->next) {
        if (!address || !strcmp(c->address, address)) {
            shutdown(c->fd, SHUT_RDWR);
            count++;
        }
    }
    return count;
}

void end_conns(const char *address)
{
    pthread_mutex_lock(&lock);
    while (shut_conns(address)) {
        pthread_cond_wait(&conn_gone, &lock);
    }
    pthread_mutex_unlock(&lock);
}
