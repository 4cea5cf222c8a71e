/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The servers that the fetch engine is put to: a thread for each connection,
 * on a loopback port from the kernel; and addresses where connecting takes
 * for ever.
 */

#include "fetch_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct visit_t {
    server_t *server;
    int fd;
} visit_t;

static void send_text(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

        if (sent <= 0) {
            return;
        }
        text += sent;
        len -= (size_t)sent;
    }
}

/* One request into buffer, or its head; 0 when the peer has gone. */
static int read_request(int fd, char *buffer, size_t size, int is_hasty)
{
    size_t len = 0;

    while (len < size - 1) {
        ssize_t got = recv(fd, buffer + len, size - 1 - len, 0);
        char *end, *length;

        if (got <= 0) {
            return 0;
        }
        len += (size_t)got;
        buffer[len] = '\0';
        end = strstr(buffer, "\r\n\r\n");
        if (!end) {
            continue;
        }
        length = strstr(buffer, "Content-Length: ");
        if (is_hasty || !length || (size_t)(end + 4 - buffer)
                       + strtoul(length + 16, NULL, 10) <= len) {
            return 1;
        }
    }
    return 0;
}

static void answer(const server_t *server, int fd, const char *request)
{
    int is_get = !strncmp(request, "GET", 3);
    const char *body = server->body ? server->body : "good";
    int status = server->status ? server->status : 200;
    char text[2048];
    int len;

    if (is_get && server->get_body) {
        body = server->get_body;
    }
    if (is_get && server->cached
        && !strstr(request, "\r\nCache-Control: no-cache\r\n")) {
        body = server->cached;
    }
    if (is_get && server->get_status) {
        status = server->get_status;
    }
    len = snprintf(text, sizeof(text), "HTTP/1.1 %d Status\r\n"
                   "Content-Length: %zu\r\n%s\r\n%s", status,
                   status == 304 ? (size_t)0 : strlen(body),
                   server->fields ? server->fields : "",
                   status == 304 ? "" : body);
    send_text(fd, text, (size_t)len);
}

static void wait_for_close(int fd)
{
    char byte[64];

    while (recv(fd, byte, sizeof(byte), 0) > 0) {
    }
}

static void drip(int fd)
{
    int i;

    send_text(fd, "HTTP/1.1 200 OK\r\nX-Drip: ", 25);
    for (i = 0; i < 500; i++) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) <= 0) {
            return;
        }
        usleep(20000);
    }
}

static void send_huge(int fd)
{
    static char much[102400];

    send_text(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
    memset(much, 'x', sizeof(much));
    send_text(fd, much, sizeof(much));
}

/* Whether the connection goes on. */
static int serve_one(server_t *server, int fd, const char *request, int count)
{
    struct linger hard = { 1, 0 };
    manner_e manner = server->manner;
    char text[64];
    int len;

    if (server->bad_path
        && !memmem(request, strcspn(request, "\r"), server->bad_path,
                   strlen(server->bad_path))) {
        manner = ANSWER;
    }
    if (server->delay_ms) {
        usleep((useconds_t)server->delay_ms * 1000);
    }
    switch (manner) {
    case ANSWER:
        answer(server, fd, request);
        return !server->fields || !strstr(server->fields, "close");
    case SILENT:
        wait_for_close(fd);
        return 0;
    case RESET:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        return 0;
    case HANGUP:
        return 0;
    case GARBAGE:
        send_text(fd, "SSH-2.0-OpenSSH_9.9\r\n", 21);
        wait_for_close(fd);
        return 0;
    case SHORT:
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood", 42);
        return 0;
    case HALF:
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood", 42);
        wait_for_close(fd);
        return 0;
    case DRIP:
        drip(fd);
        return 0;
    case HUGE:
        send_huge(fd);
        return 0;
    case STALE:
        if (count > 1) {
            return 0;
        }
        answer(server, fd, request);
        return 1;
    case HASTY:
        answer(server, fd, request);
        while (server->manner == HASTY) {
            usleep(1000);
        }
        wait_for_close(fd);
        return 0;
    case EARLY:
        answer(server, fd, request);
        return 0;
    case ENDLESS:
        len = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n\r\n" DER_BODY
                       "%s", server->body ? server->body : "");
        send_text(fd, text, (size_t)len);
        wait_for_close(fd);
        return 0;
    case DEAF:
        if (count > 1) {
            wait_for_close(fd);
            return 0;
        }
        answer(server, fd, request);
        return 1;
    }
    return 0;
}

static void *serve(void *data)
{
    visit_t *visit = data;
    server_t *server = visit->server;
    char request[4096];
    int count = 0;
    int goes_on = 1;

    while (goes_on && read_request(visit->fd, request, sizeof(request),
                                   server->manner == HASTY)) {
        pthread_mutex_lock(&server->lock);
        server->requests++;
        server->gets += !strncmp(request, "GET", 3);
        if (++server->at_work > server->most_at_work) {
            server->most_at_work = server->at_work;
        }
        memcpy(server->last, request, sizeof(request));
        pthread_mutex_unlock(&server->lock);
        goes_on = serve_one(server, visit->fd, request, ++count);
        pthread_mutex_lock(&server->lock);
        server->at_work--;
        pthread_mutex_unlock(&server->lock);
    }
    close(visit->fd);
    free(visit);
    pthread_mutex_lock(&server->lock);
    server->open--;
    server->threads--;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void spawn(void *(*entry)(void *), void *data)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    if (pthread_create(&thread, &attr, entry, data)) {
        perror("pthread_create");
        exit(1);
    }
    pthread_attr_destroy(&attr);
}

static void *accept_all(void *data)
{
    server_t *server = data;
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0 || errno == EMFILE) {
        visit_t *visit;
        int on = 1;

        if (fd < 0) {
            usleep(1000); /* test_descriptors() takes them all */
            continue;
        }
        visit = malloc(sizeof(*visit));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        visit->server = server;
        visit->fd = fd;
        pthread_mutex_lock(&server->lock);
        server->connections++;
        server->threads++;
        if (++server->open > server->most_open) {
            server->most_open = server->open;
        }
        pthread_mutex_unlock(&server->lock);
        spawn(serve, visit);
    }
    pthread_mutex_lock(&server->lock);
    server->threads--;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* A listening socket at an address and port (0: any); -1: not to be had. */
int listen_at(const char *ip, int port, int backlog)
{
    struct sockaddr_in in4 = { 0 };
    struct sockaddr_in6 in6 = { 0 };
    int is_ipv6 = strchr(ip, ':') != NULL;
    int on = 1;
    int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

    in4.sin_family = AF_INET;
    in6.sin6_family = AF_INET6;
    in4.sin_port = in6.sin6_port = htons((unsigned short)port);
    inet_pton(AF_INET, ip, &in4.sin_addr);
    inet_pton(AF_INET6, ip, &in6.sin6_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, is_ipv6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
             is_ipv6 ? sizeof(in6) : sizeof(in4))
        || listen(fd, backlog)) {
        close(fd);
        return -1;
    }
    return fd;
}

int port_of(int fd)
{
    struct sockaddr_in6 address;
    socklen_t len = sizeof(address);

    getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.sin6_port); /* at the same place for both families */
}

int start_at(server_t *server, const char *ip, int port)
{
    server->fd = listen_at(ip, port, 512);
    if (server->fd < 0) {
        return 0;
    }
    server->port = port_of(server->fd);
    pthread_mutex_init(&server->lock, NULL);
    server->threads = 1;
    spawn(accept_all, server);
    return 1;
}

void start(server_t *server)
{
    if (!start_at(server, "127.0.0.1", 0)) {
        perror("listen");
        exit(1);
    }
}

/* Until no thread uses the server, which lies on a test's stack. */
void stop(server_t *server)
{
    int i, left = 1;

    shutdown(server->fd, SHUT_RDWR);
    for (i = 0; left && i < 1500; i++) {
        pthread_mutex_lock(&server->lock);
        left = server->threads;
        pthread_mutex_unlock(&server->lock);
        if (left) {
            usleep(10000);
        }
    }
    if (left) {
        printf("Bail out! a server does not end\n");
        exit(1);
    }
    close(server->fd);
}

int dig(hole_t *hole, const char *ip, int port)
{
    struct sockaddr_in6 address;
    socklen_t len = sizeof(address);
    int i;

    hole->fd = listen_at(ip, port, 0);
    if (hole->fd < 0) {
        return 0;
    }
    hole->port = port_of(hole->fd);
    getsockname(hole->fd, (struct sockaddr *)&address, &len);
    for (i = 0; i < 8; i++) {
        hole->fillers[i] = socket(address.sin6_family,
                                  SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(hole->fillers[i], (struct sockaddr *)&address, len);
    }
    return 1;
}

void fill(hole_t *hole)
{
    int i;

    for (i = 0; i < 8; i++) {
        close(hole->fillers[i]);
    }
    close(hole->fd);
}
