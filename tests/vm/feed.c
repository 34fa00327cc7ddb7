/* feed DEVICE FOURCC WIDTH HEIGHT FILE [FPS]: shows one frame on a V4L2 output until it is ended, at the device's rate or FPS. In the
 * VM it plays the camera's side of vivid's HDMI loop, and the bridge before v4l2loopback. Prints "feeding" when the first frames are queued. */
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFERS = 4 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int device;

static void call(const char *what, unsigned long request, void *argument)
{
    if (ioctl(device, request, argument)) {
        fail(what);
    }
}

static struct v4l2_buffer buffer(unsigned index, unsigned bytes)
{
    struct v4l2_buffer b;
    memset(&b, 0, sizeof b);
    b.index = index;
    b.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
    b.memory = V4L2_MEMORY_MMAP;
    b.field = V4L2_FIELD_NONE;
    b.bytesused = bytes;
    return b;
}

int main(int argc, char **argv)
{
    struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
    struct v4l2_requestbuffers wanted = {.count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
    int type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
    FILE *file;
    unsigned bytes;
    if (argc < 6 || argc > 7 || strlen(argv[2]) != 4) {
        fprintf(stderr, "usage: feed DEVICE FOURCC WIDTH HEIGHT FILE [FPS]\n");
        return 2;
    }
    device = open(argv[1], O_RDWR);
    if (device < 0) {
        fail(argv[1]);
    }
    call("VIDIOC_G_FMT", VIDIOC_G_FMT, &format);
    format.fmt.pix.width = (unsigned)atoi(argv[3]);
    format.fmt.pix.height = (unsigned)atoi(argv[4]);
    memcpy(&format.fmt.pix.pixelformat, argv[2], 4);
    format.fmt.pix.field = V4L2_FIELD_NONE;
    format.fmt.pix.bytesperline = 0;
    call("VIDIOC_S_FMT", VIDIOC_S_FMT, &format);
    if (memcmp(&format.fmt.pix.pixelformat, argv[2], 4)) {
        fprintf(stderr, "the output does not take %s\n", argv[2]);
        return 1;
    }
    bytes = format.fmt.pix.sizeimage;
    call("VIDIOC_REQBUFS", VIDIOC_REQBUFS, &wanted);
    file = fopen(argv[5], "rb");
    if (!file) {
        fail(argv[5]);
    }
    for (unsigned i = 0; i < wanted.count; i++) {
        struct v4l2_buffer b = buffer(i, bytes);
        void *memory;
        call("VIDIOC_QUERYBUF", VIDIOC_QUERYBUF, &b);
        memory = mmap(NULL, b.length, PROT_READ | PROT_WRITE, MAP_SHARED, device, b.m.offset);
        if (memory == MAP_FAILED) {
            fail("mmap");
        }
        rewind(file);
        if (fread(memory, 1, bytes, file) != bytes) {
            fprintf(stderr, "%s: a frame has %u bytes\n", argv[5], bytes);
            return 1;
        }
        b = buffer(i, bytes);
        call("VIDIOC_QBUF", VIDIOC_QBUF, &b);
    }
    call("VIDIOC_STREAMON", VIDIOC_STREAMON, &type);
    puts("feeding");
    fflush(stdout);
    for (;;) {
        struct v4l2_buffer b = buffer(0, 0);
        call("VIDIOC_DQBUF", VIDIOC_DQBUF, &b);
        if (argc == 7) {
            usleep(1000000 / (unsigned)atoi(argv[6]));
        }
        b = buffer(b.index, bytes);
        call("VIDIOC_QBUF", VIDIOC_QBUF, &b);
    }
}
