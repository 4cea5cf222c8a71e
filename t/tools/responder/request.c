/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * HTTP and OCSP: one request read out of what has come in.
 */

#include "responder.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

/* The value of a header, copied; "" if there is none. */
char *header_of(const char *head, const char *name)
{
    size_t name_len = strlen(name);
    const char *line = strchr(head, '\n');

    while (line) {
        line++;
        if (!strncasecmp(line, name, name_len) && line[name_len] == ':') {
            const char *value = line + name_len + 1;

            value += strspn(value, " \t");
            return must(strndup(value, strcspn(value, "\r\n")));
        }
        line = strchr(line, '\n');
    }
    return must(strdup(""));
}

int header_has(const char *head, const char *name, const char *word)
{
    char *value = header_of(head, name);
    int has = strcasestr(value, word) != NULL;

    free(value);
    return has;
}

static size_t content_length(const char *head)
{
    char *value = header_of(head, "Content-Length");
    unsigned long n = strtoul(value, NULL, 10);

    free(value);
    return n;
}

static OCSP_REQUEST *parse_der(const unsigned char *der, long len)
{
    OCSP_REQUEST *req = d2i_OCSP_REQUEST(NULL, &der, len);

    ERR_clear_error();
    return req;
}

static OCSP_REQUEST *parse_base64(const char *text)
{
    size_t len = strlen(text);
    unsigned char *der;
    OCSP_REQUEST *req = NULL;
    int n;

    if (!len || len % 4) {
        return NULL;
    }
    der = must(malloc(len));
    n = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);
    if (n > 0) {
        n -= (text[len - 1] == '=') + (text[len - 2] == '=');
        req = parse_der(der, n);
    }
    ERR_clear_error();
    free(der);
    return req;
}

static int unhex(char c)
{
    return isdigit((unsigned char)c) ? c - '0'
                                     : tolower((unsigned char)c) - 'a' + 10;
}

static char *percent_decode(const char *text)
{
    char *out = must(strdup(text)), *w = out;
    const char *r;

    for (r = text; *r; r++) {
        if (*r == '%' && isxdigit((unsigned char)r[1])
            && isxdigit((unsigned char)r[2])) {
            *w++ = (char)(unhex(r[1]) * 16 + unhex(r[2]));
            r += 2;
        }
        else {
            *w++ = *r;
        }
    }
    *w = '\0';
    return out;
}

/* The request in a GET's path: whatever follows a slash and parses, so that
 * any path may come before it, and base64's own slashes do no harm. */
static OCSP_REQUEST *parse_target(const char *target)
{
    char *plain = percent_decode(target);
    const char *slash = strchr(plain, '/');
    OCSP_REQUEST *req = NULL;

    while (slash && !req) {
        req = parse_base64(slash + 1);
        slash = strchr(slash + 1, '/');
    }
    free(plain);
    return req;
}

static void parse_ocsp(request_t *r)
{
    ASN1_INTEGER *serial = NULL;
    BIGNUM *bn;
    char *hex;

    strcpy(r->serial, "-");
    r->ocsp = strcmp(r->method, "GET")
              ? parse_der(r->body, (long)r->body_len)
              : parse_target(r->target);
    if (!r->ocsp || OCSP_request_onereq_count(r->ocsp) < 1) {
        return;
    }
    r->id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(r->ocsp, 0));
    OCSP_id_get0_info(NULL, NULL, NULL, &serial, r->id);
    bn = must(ASN1_INTEGER_to_BN(serial, NULL));
    hex = must(BN_bn2hex(bn));
    snprintf(r->serial, sizeof(r->serial), "%s", hex);
    OPENSSL_free(hex);
    BN_free(bn);
}

static void parse_line(request_t *r)
{
    char *line = must(strndup(r->head, strcspn(r->head, "\r\n")));
    char version[16] = "HTTP/1.0";

    strcpy(r->method, "-");
    r->target = must(calloc(1, strlen(line) + 1));
    sscanf(line, "%15s %s %15s", r->method, r->target, version);
    r->minor = strcmp(version, "HTTP/1.0") != 0;
    free(line);
}

/* Take a whole request out of what has come in.
 * Returns 1 with a request, 0 if more is needed, -1 if it never will be. */
int parse_request(conn_t *c, request_t *r)
{
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    size_t head_len;

    if (!end) {
        return c->in_len == sizeof(c->in) ? -1 : 0;
    }
    head_len = (size_t)(end - c->in) + 4;
    memset(r, 0, sizeof(*r));
    r->head = must(strndup(c->in, head_len));
    r->body_len = content_length(r->head);
    if (r->body_len > sizeof(c->in) - head_len) {
        free(r->head);
        return -1;
    }
    r->total_len = head_len + r->body_len;
    if (c->in_len < r->total_len) {
        free(r->head);
        return 0;
    }
    r->body = (const unsigned char *)c->in + head_len;
    parse_line(r);
    parse_ocsp(r);
    return 1;
}

void free_request(request_t *r)
{
    free(r->head);
    free(r->target);
    OCSP_REQUEST_free(r->ocsp);
}
