/* ADDRESS COUNT INTERVAL_US STAMPS: ICMP echo as ping does it, one RTT in ns per line, -1 for none.

   STAMPS "iputils": the time before the send call against the kernel's stamp of the answer.
   STAMPS "kernel": the kernel's stamps of both. */
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
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

/* The kernel's stamp on a message, in ns; -1 without one. */
static long long stamp_ns(struct msghdr *message)
{
    for (struct cmsghdr *extra = CMSG_FIRSTHDR(message); extra; extra = CMSG_NXTHDR(message, extra)) {
        struct scm_timestamping when;
        if (extra->cmsg_level != SOL_SOCKET || extra->cmsg_type != SO_TIMESTAMPING)
            continue;
        memcpy(&when, CMSG_DATA(extra), sizeof when);
        return when.ts[0].tv_sec * 1000000000LL + when.ts[0].tv_nsec;
    }
    return -1;
}

/* When the echo request left, or -1. */
static long long departure_ns(int fd)
{
    struct pollfd ready = {fd, 0, 0};
    char control[512];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    if (poll(&ready, 1, WAIT_MS) <= 0 || recvmsg(fd, &message, MSG_ERRQUEUE) < 0)
        return -1;
    return stamp_ns(&message);
}

/* When the answer arrived, or -1 when nothing came in time. */
static long long arrival_ns(int fd, int raw, unsigned short sequence)
{
    struct pollfd ready = {fd, POLLIN, 0};
    while (poll(&ready, 1, WAIT_MS) > 0) {
        unsigned char data[2048];
        char control[512];
        struct iovec part = {data, sizeof data};
        struct msghdr message = {0};
        message.msg_iov = &part, message.msg_iovlen = 1;
        message.msg_control = control, message.msg_controllen = sizeof control;
        long size = recvmsg(fd, &message, 0);
        unsigned char *echo = data + (raw ? 4 * (data[0] & 15) : 0);
        unsigned short got;
        memcpy(&got, echo + 6, 2);
        if (size >= echo - data + 8 && echo[0] == ICMP_ECHOREPLY && got == htons(sequence))
            return stamp_ns(&message);
    }
    return -1;
}

int main(int count, char **words)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (count != 5 || inet_pton(AF_INET, words[1], &to.sin_addr) != 1)
        return 2;
    int probes = atoi(words[2]), interval_us = atoi(words[3]);
    int kernel = !strcmp(words[4], "kernel");
    unsigned stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    if (kernel)
        stamps |= SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), raw = fd >= 0;
    if (!raw && (fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)) < 0)
        return perror("socket"), 1;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps))
        return perror("SO_TIMESTAMPING"), 1;
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
        if (send(fd, echo, ECHO, 0) == ECHO) {
            long long sent_ns = now.tv_sec * 1000000000LL + now.tv_usec * 1000LL;
            if (kernel)
                sent_ns = departure_ns(fd);
            long long received_ns = arrival_ns(fd, raw, (unsigned short)k);
            if (sent_ns >= 0 && received_ns >= 0)
                rtt_ns = received_ns - sent_ns;
        }
        printf("%lld\n", rtt_ns);
        if (k + 1 < probes)
            usleep((unsigned)interval_us);
    }
    return 0;
}
