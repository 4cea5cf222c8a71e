/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listening: the door for questions, which can be closed while the port is
 * kept.
 */

#include "responder.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>

door_t door;

unsigned port_of(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6
                 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                 : ((const struct sockaddr_in *)addr)->sin_port);
}

static int bind_socket(struct sockaddr_storage *addr, socklen_t *len)
{
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC
                    | SOCK_NONBLOCK, 0);
    int one = 1;

    if (fd < 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
        || bind(fd, (struct sockaddr *)addr, *len)
        || getsockname(fd, (struct sockaddr *)addr, len)) {
        die("cannot bind: %s", strerror(errno));
    }
    return fd;
}

int bind_name(const char *host, const char *port,
              struct sockaddr_storage *addr, socklen_t *len)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found)) {
        die("no address: %s port %s", host, port);
    }
    memcpy(addr, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return bind_socket(addr, len);
}

void open_door(void)
{
    if (!door.is_open && listen(door.fd, 1024)) {
        die("cannot listen: %s", strerror(errno));
    }
    door.is_open = 1;
}

/* Refuse connections, keep the port, and end what goes on. */
void close_door(void)
{
    if (door.is_open) {
        close(door.fd);
        door.fd = bind_socket(&door.addr, &door.len);
        door.is_open = 0;
    }
    end_all_conns();
}
