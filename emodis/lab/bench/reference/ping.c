/* ADDRESS COUNT INTERVAL_US: ICMP echo as ping does it, one RTT in ns per line, -1 for none.

   The time before the send call against the kernel's stamp of the answer, as iputils takes them. */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 56, ECHO = 8 + PAYLOAD, WAIT_MS = 1000 };

static unsigned short sum(const unsigned char *data, int size)
{
    unsigned long total = 0;
    for (int at = 0; at < size; at += 2)
        total += data[at] | (unsigned)data[at + 1] << 8;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (unsigned short)~total;
}

static long long at_ns(struct timeval when)
{
    return when.tv_sec * 1000000000LL + when.tv_usec * 1000LL;
}

/* The RTT, or -1 when nothing came in time. */
static long long hear(int fd, int raw, unsigned short sequence, long long sent_ns)
{
    struct pollfd ready = {fd, POLLIN, 0};
    while (poll(&ready, 1, WAIT_MS) > 0) {
        unsigned char data[2048], control[256];
        struct iovec part = {data, sizeof data};
        struct msghdr message = {0};
        message.msg_iov = &part, message.msg_iovlen = 1;
        message.msg_control = control, message.msg_controllen = sizeof control;
        long size = recvmsg(fd, &message, 0);
        unsigned char *echo = data + (raw ? 4 * (data[0] & 15) : 0);
        unsigned short got;
        memcpy(&got, echo + 6, 2);
        if (size < echo - data + 8 || echo[0] != ICMP_ECHOREPLY || got != htons(sequence))
            continue;
        struct cmsghdr *extra = CMSG_FIRSTHDR(&message);
        struct timeval when;
        memcpy(&when, CMSG_DATA(extra), sizeof when);
        return at_ns(when) - sent_ns;
    }
    return -1;
}

int main(int count, char **words)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (count != 4 || inet_pton(AF_INET, words[1], &to.sin_addr) != 1)
        return 2;
    int probes = atoi(words[2]), interval_us = atoi(words[3]), on = 1;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), raw = fd >= 0;
    if (!raw && (fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)) < 0)
        return perror("socket"), 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on);
    connect(fd, (struct sockaddr *)&to, sizeof to);
    for (int k = 0; k < probes; k++) {
        unsigned char echo[ECHO] = {ICMP_ECHO};
        unsigned short id = htons((unsigned short)getpid()), number = htons((unsigned short)k);
        struct timeval now;
        memcpy(echo + 4, &id, 2), memcpy(echo + 6, &number, 2);
        gettimeofday(&now, NULL);
        memcpy(echo + 8, &now, sizeof now);
        unsigned short checksum = sum(echo, ECHO);
        memcpy(echo + 2, &checksum, 2);
        long long rtt_ns = -1;
        if (send(fd, echo, ECHO, 0) == ECHO)
            rtt_ns = hear(fd, raw, (unsigned short)k, at_ns(now));
        printf("%lld\n", rtt_ns);
        if (k + 1 < probes)
            usleep((unsigned)interval_us);
    }
    return 0;
}
