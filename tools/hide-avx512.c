/*
 * Makes a processor with AVX-512 look like one with AVX2 alone, to try the kernels that libraries choose there:
 *
 *   gcc -O2 -shared -fPIC -o /tmp/hide-avx512.so tools/hide-avx512.c -ldl
 *   LD_PRELOAD=/tmp/hide-avx512.so npx vitest run src/quantize
 *
 * x86-64 Linux on a processor whose flags in /proc/cpuinfo contain cpuid_fault. There a process can ask for a fault at every CPUID
 * instruction; the handler here runs it, clears the bits of AVX-512, VNNI and AMX, and goes on behind it. Threads and child processes
 * are treated alike.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_CPUID_SET = 0x1012 }; /* of arch_prctl(2); not in every libc's headers */

#define BIT(n) (1u << (n))

static int (*install)(int, const struct sigaction *, struct sigaction *);
/* What the program itself wants done at a segmentation fault: V8 has a handler for WebAssembly. */
static struct sigaction wanted;

static void allow_cpuid(long allowed) { syscall(SYS_arch_prctl, ARCH_CPUID_SET, allowed); }

static void answer(greg_t *regs) {
  unsigned leaf = regs[REG_RAX], sub = regs[REG_RCX], a, b, c, d;
  allow_cpuid(1);
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(sub));
  allow_cpuid(0);
  if (leaf == 7 && sub == 0) {
    b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)); /* AVX512 F DQ IFMA PF ER CD BW VL */
    c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));               /* AVX512 VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
    d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25)); /* AVX512 4VNNIW 4FMAPS VP2INTERSECT FP16, AMX */
  }
  if (leaf == 7 && sub == 1) {
    a &= ~(BIT(4) | BIT(5) | BIT(21));          /* AVX-VNNI, AVX512 BF16, AMX FP16 */
    d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10)); /* AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16 */
  }
  regs[REG_RAX] = a;
  regs[REG_RBX] = b;
  regs[REG_RCX] = c;
  regs[REG_RDX] = d;
  regs[REG_RIP] += 2;
}

static void on_fault(int number, siginfo_t *info, void *context) {
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)regs[REG_RIP];
  /* A general protection fault, raised by the kernel and not for an address, at the two bytes of CPUID. */
  if (info->si_code == SI_KERNEL && code[0] == 0x0f && code[1] == 0xa2) return answer(regs);
  if (wanted.sa_flags & SA_SIGINFO) return wanted.sa_sigaction(number, info, context);
  if (wanted.sa_handler == SIG_IGN) return;
  if (wanted.sa_handler != SIG_DFL) return wanted.sa_handler(number);
  struct sigaction fallback = {.sa_handler = SIG_DFL};
  install(number, &fallback, NULL);
}

/* In place of libc's: the fault handler stays, others are called from it. */
int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
  if (!install) install = dlsym(RTLD_NEXT, "sigaction");
  if (number != SIGSEGV) return install(number, action, old);
  if (old) *old = wanted;
  if (action) wanted = *action;
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  if (!install) install = dlsym(RTLD_NEXT, "sigaction");
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  install(SIGSEGV, &action, NULL);
  if (syscall(SYS_arch_prctl, ARCH_CPUID_SET, 0L) != 0) {
    perror("hide-avx512: no CPUID faulting on this processor or kernel");
    _exit(1);
  }
}
