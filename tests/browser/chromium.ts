/** The system's Chromium, driven over its debugging protocol. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

export const executable = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** Whether the tests of pages can run; says loudly that they do not. */
export function hasChromium(): boolean {
  if (existsSync(executable)) return true;
  console.warn(`NOT CHECKED: ${executable} is missing (Debian: chromium): no test opens a page`);
  return false;
}

/** @param gpu software WebGPU, which Chromium brings along */
export function launch({ gpu = false }: { gpu?: boolean } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      ...(gpu ? ['--enable-unsafe-webgpu', '--enable-features=Vulkan'] : []),
    ],
  });
}
