/* ADDRESS PORT STAMPS: for each line on stdin one train of 30 x 60, 60 x 500 and 30 x 60 bytes, by
   raw sendmmsg until all have left; says so by a line. STAMPS "plain" or "stamped": whether the
   kernel stamps when each packet is queued and when it leaves. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HEAD = 30, LOAD = 60, PACKETS = HEAD + LOAD + HEAD, SMALL = 60, LARGE = 500 };

static unsigned char packets[PACKETS][LARGE];
static struct iovec parts[PACKETS];
static struct mmsghdr messages[PACKETS];

static void build(struct sockaddr_in *to, unsigned short port)
{
    for (int k = 0; k < PACKETS; k++) {
        unsigned size = k < HEAD || k >= HEAD + LOAD ? SMALL : LARGE;
        struct ip *ip = (struct ip *)packets[k];
        struct udphdr *udp = (struct udphdr *)(packets[k] + sizeof *ip);
        ip->ip_v = 4, ip->ip_hl = 5, ip->ip_ttl = 64, ip->ip_p = IPPROTO_UDP;
        ip->ip_dst = to->sin_addr;
        udp->uh_sport = htons(40000), udp->uh_dport = htons(port);
        udp->uh_ulen = htons((unsigned short)(size - sizeof *ip));
        parts[k].iov_base = packets[k], parts[k].iov_len = size;
        messages[k].msg_hdr.msg_iov = &parts[k], messages[k].msg_hdr.msg_iovlen = 1;
        messages[k].msg_hdr.msg_name = to, messages[k].msg_hdr.msg_namelen = sizeof *to;
    }
}

/* Throw the stamps away, else there is no room for the next ones. */
static void forget_stamps(int fd)
{
    char control[512];
    struct msghdr message = {0};
    do {
        message.msg_control = control, message.msg_controllen = sizeof control;
    } while (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0);
}

int main(int count, char **words)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (count != 4 || inet_pton(AF_INET, words[1], &to.sin_addr) != 1)
        return 2;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), buffer = 1 << 20;
    if (fd < 0)
        return perror("socket"), 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (!strcmp(words[3], "stamped")) {
        unsigned stamps = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE |
                          SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY |
                          SOF_TIMESTAMPING_OPT_ID;
        int room = 8 << 20;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps))
            return perror("SO_TIMESTAMPING"), 1;
    }
    build(&to, (unsigned short)atoi(words[2]));
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        for (int sent = 0; sent < PACKETS;) {
            int more = sendmmsg(fd, messages + sent, (unsigned)(PACKETS - sent), 0);
            if (more < 0)
                return perror("sendmmsg"), 1;
            sent += more;
        }
        forget_stamps(fd);
        puts("sent"), fflush(stdout);
    }
    return 0;
}
