/**
 * The thread that makes one key and its certificate request, and ends. What that needs takes tens of milliseconds to load: too long
 * for a loop that serves requests, and not worth keeping for one use in half an hour.
 */
import { parentPort } from 'node:worker_threads';
import { makeCertificateRequest } from '../../identity/certificate-request.ts';

parentPort!.postMessage(await makeCertificateRequest());
