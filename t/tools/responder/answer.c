/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * HTTP: an answer framed, and how its bytes travel.
 */

#include "responder.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default:  return "Status";
    }
}

static void write_chunked(BIO *out, const char *data, int len)
{
    int done = 0;

    while (done < len) {
        int n = len - done < 100 ? len - done : 100;

        BIO_printf(out, "%x\r\n", (unsigned)n);
        BIO_write(out, data + done, n);
        BIO_write(out, "\r\n", 2);
        done += n;
    }
    BIO_write(out, "0\r\n\r\n", 5);
}

static void write_head(BIO *out, int status, const settings_t *s,
                       int body_len, int is_last)
{
    char date[64];
    time_t now = time(NULL);
    struct tm tm;

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT",
             gmtime_r(&now, &tm));
    BIO_printf(out, "HTTP/1.%d %d %s\r\nDate: %s\r\n",
               s->framing == FRAMING_HTTP10 ? 0 : 1, status,
               status_text(status), date);
    if (s->etag[0]) {
        BIO_printf(out, "ETag: %s\r\n", s->etag);
    }
    BIO_puts(out, s->headers);
    if (status == s->status) {
        BIO_puts(out, s->status_header);
    }
    if (status != 304) {
        const char *type = status == 200 ? s->type : "text/html";

        if (*type) {
            BIO_printf(out, "Content-Type: %s\r\n", type);
        }
        if (s->framing == FRAMING_LENGTH) {
            BIO_printf(out, "Content-Length: %d\r\n", body_len);
        }
        else if (s->framing == FRAMING_CHUNKED) {
            BIO_puts(out, "Transfer-Encoding: chunked\r\n");
        }
    }
    BIO_puts(out, is_last ? "Connection: close\r\n\r\n" : "\r\n");
}

static int choose_status(const request_t *r, const settings_t *s)
{
    char *held;
    int is_same;

    if (s->status != 200) {
        return s->status;
    }
    if (s->only_method[0] && strcmp(s->only_method, r->method)) {
        return 405;
    }
    if (!r->id) {
        return 400;
    }
    held = header_of(r->head, "If-None-Match");
    is_same = s->etag[0] && !strcmp(held, s->etag);
    free(held);
    return is_same ? 304 : 200;
}

/* The whole answer as bytes. */
BIO *make_answer(const request_t *r, const settings_t *s, int is_last)
{
    BIO *out = must(BIO_new(BIO_s_mem()));
    int status = choose_status(r, s);
    BIO *body = NULL;
    char *data;
    int len;

    if (status == 200) {
        body = make_body(r->id, s);
    }
    else {
        body = must(BIO_new(BIO_s_mem()));
        BIO_printf(body, "<html>%d %s</html>\n", status, status_text(status));
    }
    len = bio_len(body, &data);
    write_head(out, status, s, len, is_last);
    if (status == 304) {
        len = 0;
    }
    else if (s->framing == FRAMING_CHUNKED) {
        write_chunked(out, data, len);
    }
    else {
        BIO_write(out, data, len);
    }
    BIO_free(body);
    return out;
}

/* Wait until `ms` have gone by (-1: for ever) or the client has gone.
 * Returns whether it is still there. A shutdown() by the main thread looks
 * like a client that goes. */
static int linger(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    int n;

    do {
        n = poll(&p, 1, ms);
    } while (n < 0 && errno == EINTR);
    return n == 0;
}

static int send_all(int fd, const char *data, int len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, (size_t)len, MSG_NOSIGNAL);

        if (n < 0) {
            return 0;
        }
        data += n;
        len -= (int)n;
    }
    return 1;
}

static int send_dripping(int fd, const char *data, int len, int ms)
{
    int i;

    for (i = 0; i < len; i++) {
        if (!send_all(fd, data + i, 1) || !linger(fd, ms)) {
            return 0;
        }
    }
    return 1;
}

static void arm_reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void wait_for_end(int fd)
{
    linger(fd, -1);
}

int deliver(int fd, BIO *answer, const settings_t *s)
{
    static const char greeting[] = "SSH-2.0-OpenSSH_9.9\r\n";
    char *data;
    int len = bio_len(answer, &data);

    switch (s->delivery) {
    case DELIVERY_PROMPT:
    case DELIVERY_ONCE:
        return send_all(fd, data, len);
    case DELIVERY_SLOW:
        return linger(fd, s->ms) && send_all(fd, data, len);
    case DELIVERY_DRIP:
        return send_dripping(fd, data, len, s->ms);
    case DELIVERY_HANG_BEFORE:
    case DELIVERY_DEAF:
        linger(fd, -1);
        return 0;
    case DELIVERY_HANG_MIDDLE:
        send_all(fd, data, len / 2);
        linger(fd, -1);
        return 0;
    case DELIVERY_CUT:
        send_all(fd, data, len / 2);
        return 0;
    case DELIVERY_NOT_HTTP:
        send_all(fd, greeting, sizeof(greeting) - 1);
        return 0;
    case DELIVERY_DROP:
    case DELIVERY_HANGUP:
        return 0;
    case DELIVERY_RESET:
        arm_reset(fd);
        return 0;
    }
    return 0;
}
