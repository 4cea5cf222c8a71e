/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The responder's life: its options, its main thread, which listens and reads
 * commands, and its end. responder.h says what it is and how it is used.
 */

#include "responder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#define CONTROLS_MAX 16
#define LINE_MAX_LEN 4096

int stop_pipe[2];

__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "responder: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    ERR_print_errors_fp(stderr);
    exit(1);
}

void *must(void *p)
{
    if (!p) {
        die("out of memory, or OpenSSL refused");
    }
    return p;
}

int bio_len(BIO *bio, char **data)
{
    long len = BIO_get_mem_data(bio, data);

    return len > INT_MAX ? INT_MAX : (int)len;
}

typedef struct control_t {
    int fd; /* -1: free */
    FILE *out;
    char in[LINE_MAX_LEN];
    size_t in_len;
} control_t;

static control_t controls[CONTROLS_MAX];

static void end_control(control_t *c)
{
    fclose(c->out);
    c->fd = -1;
}

static void start_control(int fd)
{
    int i;

    for (i = 0; i < CONTROLS_MAX; i++) {
        if (controls[i].fd < 0) {
            controls[i].out = must(fdopen(fd, "w"));
            controls[i].fd = fd;
            controls[i].in_len = 0;
            return;
        }
    }
    close(fd);
}

static void read_control(control_t *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
    char *end;

    if (n <= 0) {
        end_control(c);
        return;
    }
    c->in_len += (size_t)n;
    while ((end = memchr(c->in, '\n', c->in_len)) != NULL) {
        size_t len = (size_t)(end - c->in) + 1;

        *end = '\0';
        obey_line(c->in, c->out);
        c->in_len -= len;
        memmove(c->in, c->in + len, c->in_len);
    }
    if (c->in_len == sizeof(c->in)) {
        end_control(c);
    }
}

static void accept_one(int door, void (*take)(int fd))
{
    int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0) {
        take(fd);
    }
}

/* Runs until something is in the stop pipe, or with is_tied until standard
 * input ends. */
static void run(int control_fd, int is_tied)
{
    struct pollfd p[3 + CONTROLS_MAX + DOORS_MAX];
    struct pollfd *const at_control = p + 3;
    struct pollfd *const at_door = at_control + CONTROLS_MAX;
    const int count = 3 + CONTROLS_MAX + doors_count;
    char byte;
    int i;

    for (;;) {
        p[0].fd = stop_pipe[0];
        p[1].fd = is_tied ? STDIN_FILENO : -1;
        p[2].fd = control_fd;
        for (i = 0; i < CONTROLS_MAX; i++) {
            at_control[i].fd = controls[i].fd;
        }
        for (i = 0; i < doors_count; i++) {
            at_door[i].fd = doors[i].is_open && !doors[i].is_blocked
                          ? doors[i].fd : -1;
        }
        for (i = 0; i < count; i++) {
            p[i].events = POLLIN;
            p[i].revents = 0;
        }
        if (poll(p, (nfds_t)count, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            die("poll: %s", strerror(errno));
        }
        if (p[0].revents
            || (p[1].revents && read(STDIN_FILENO, &byte, 1) <= 0)) {
            return;
        }
        for (i = 0; i < doors_count; i++) {
            if (at_door[i].revents) {
                accept_one(doors[i].fd, start_conn);
            }
        }
        if (p[2].revents) {
            accept_one(control_fd, start_control);
        }
        for (i = 0; i < CONTROLS_MAX; i++) {
            if (at_control[i].revents) {
                read_control(&controls[i]);
            }
        }
    }
}

static void on_signal(int number)
{
    ssize_t ignored = write(stop_pipe[1], "s", 1);

    (void)number;
    (void)ignored;
}

static void catch_signals(void)
{
    struct sigaction act;

    if (pipe(stop_pipe)) {
        die("no pipe: %s", strerror(errno));
    }
    memset(&act, 0, sizeof(act));
    act.sa_handler = on_signal;
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void clean_up(int control_fd)
{
    int i;

    close(control_fd);
    for (i = 0; i < doors_count; i++) {
        close(doors[i].fd);
    }
    end_conns(NULL);
    for (i = 0; i < CONTROLS_MAX; i++) {
        if (controls[i].fd >= 0) {
            end_control(&controls[i]);
        }
    }
    drop_entries();
    clear_settings("");
    free_signers();
}

static void print_help(void)
{
    printf("responder --issuer CERT KEY [--issuer ...] [--bind ADDRESS ...]\n"
           "          [--port N] [--control-port N] [--tied]\n\n"
           "An OCSP responder that can be told to lie. It prints `port N`,\n"
           "`control N` and `ready`; --tied ends it with its standard input.\n"
           "Commands, on the control port; after `@SERIAL ` for one\n"
           "certificate, after `@ADDRESS ` for one of its addresses;\n"
           "several in one line between bars:\n\n");
    print_commands(stdout, "  ");
}

int main(int argc, char **argv)
{
    const char *hosts[DOORS_MAX] = { "127.0.0.1" };
    const char *port = "0", *control_port = "0";
    struct sockaddr_storage control_addr;
    socklen_t control_len;
    int i, control_fd, hosts_count = 0, is_tied = 0, has_issuer = 0;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            print_help();
            return 0;
        }
        else if (!strcmp(argv[i], "--tied")) {
            is_tied = 1;
        }
        else if (!strcmp(argv[i], "--issuer") && i + 2 < argc) {
            load_issuer(argv[i + 1], argv[i + 2]);
            has_issuer = 1;
            i += 2;
        }
        else if (!strcmp(argv[i], "--bind") && i + 1 < argc
                 && hosts_count < DOORS_MAX) {
            hosts[hosts_count++] = argv[++i];
        }
        else if (!strcmp(argv[i], "--port") && i + 1 < argc) {
            port = argv[++i];
        }
        else if (!strcmp(argv[i], "--control-port") && i + 1 < argc) {
            control_port = argv[++i];
        }
        else {
            die("unknown or incomplete: %s; see --help", argv[i]);
        }
    }
    if (!has_issuer) {
        die("no --issuer; see --help");
    }
    clear_settings("");
    for (i = 0; i < CONTROLS_MAX; i++) {
        controls[i].fd = -1;
    }
    make_signers();
    catch_signals();
    make_doors(hosts, hosts_count ? hosts_count : 1, port);
    control_fd = bind_name(hosts[0], control_port, &control_addr, &control_len);
    if (listen(control_fd, 16)) {
        die("cannot listen: %s", strerror(errno));
    }
    printf("port %u\ncontrol %u\nready\n", port_of(&doors[0].addr),
           port_of(&control_addr));
    fflush(stdout);

    run(control_fd, is_tied);
    clean_up(control_fd);
    return 0;
}
