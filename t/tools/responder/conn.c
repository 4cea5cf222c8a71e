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

    record(r, c->number, &s);
    is_last = r->minor ? header_has(r->head, "Connection", "close")
                       : !header_has(r->head, "Connection", "keep-alive");
    if (s.framing == FRAMING_CLOSE || s.framing == FRAMING_HTTP10) {
        is_last = 1;
    }
    answer = make_answer(r, &s, is_last);
    goes_on = deliver(c->fd, answer, &s) && !is_last;
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

static void *serve(void *arg)
{
    conn_t *c = arg;
    request_t r;
    ssize_t n;
    int state, goes_on = 1;

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
    pthread_attr_t attr;
    pthread_t thread;
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->fd = fd;
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

void end_all_conns(void)
{
    conn_t *c;

    pthread_mutex_lock(&lock);
    for (c = conns; c; c = c->next) {
        shutdown(c->fd, SHUT_RDWR);
    }
    while (conns) {
        pthread_cond_wait(&conn_gone, &lock);
    }
    pthread_mutex_unlock(&lock);
}
