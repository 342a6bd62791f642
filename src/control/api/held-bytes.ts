/**
 * The bytes that requests and answers hold, with a bound for all of them together: many large ones at once, or readers that take none
 * of what they asked for, must not cost more memory than is meant for them.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../../model/limits.ts';
import { ApiError } from './api-error.ts';

/** Answers up to this size are not counted: a socket's own buffers take them. */
const smallBytes = 64 * 1024;

export interface HeldBytesOptions {
  /** Default `limits.apiBodyBytesMax`. */
  readonly bodyBytesMax?: number;
  /** Default `limits.apiAnswerBytesMax`. */
  readonly answerBytesMax?: number;
  /** Default `limits.apiAnswerIdleMs`. */
  readonly answerIdleMs?: number;
}

export class HeldBytes {
  readonly #bodyBytesMax: number;
  readonly #answerBytesMax: number;
  readonly #answerIdleMs: number;
  readonly #ofRequest = new WeakMap<FastifyRequest, number>();
  #bodyBytes = 0;
  #answerBytes = 0;

  constructor({
    bodyBytesMax = limits.apiBodyBytesMax,
    answerBytesMax = limits.apiAnswerBytesMax,
    answerIdleMs = limits.apiAnswerIdleMs,
  }: HeldBytesOptions = {}) {
    this.#answerIdleMs = answerIdleMs;
    this.#bodyBytesMax = bodyBytesMax;
    this.#answerBytesMax = answerBytesMax;
  }

  /** Of bodies and of answers, now. */
  get held(): { readonly bodyBytes: number; readonly answerBytes: number } {
    return { bodyBytes: this.#bodyBytes, answerBytes: this.#answerBytes };
  }

  /** What a body has taken is given back when the answer has left, or when the connection has ended. */
  watch(app: FastifyInstance): void {
    app.addHook('onRequest', (request, reply, next) => {
      reply.raw.once('close', () => {
        this.#bodyBytes -= this.#ofRequest.get(request) ?? 0;
        this.#ofRequest.delete(request);
      });
      next();
    });
    app.addHook('onSend', (_request, reply, payload, next) => {
      if (typeof payload === 'string' && payload.length > smallBytes) {
        if (this.#answerBytes + payload.length > this.#answerBytesMax) {
          next(new ApiError('unavailable', 'Too many large answers are on their way: ask again in a moment.'));
          return;
        }
        this.#hold(reply, payload.length);
      }
      next(null, payload);
    });
  }

  /** Resolves with the bytes. Rejects with ApiError too-large (of this address), unavailable (of all), bad-request (it broke off). */
  readBody(request: FastifyRequest, payload: IncomingMessage): Promise<Buffer> {
    const bytesMax = request.routeOptions.bodyLimit;
    return new Promise((resolve, reject) => {
      if (Number(request.headers['content-length']) > bytesMax) {
        reject(tooLarge());
        return;
      }
      const chunks: Buffer[] = [];
      const fail = (error: ApiError) => {
        payload.off('data', take);
        chunks.length = 0;
        reject(error);
      };
      const take = (chunk: Buffer) => {
        const held = (this.#ofRequest.get(request) ?? 0) + chunk.byteLength;
        this.#ofRequest.set(request, held);
        this.#bodyBytes += chunk.byteLength;
        if (held > bytesMax) fail(tooLarge());
        else if (this.#bodyBytes > this.#bodyBytesMax) fail(tooMuch());
        else chunks.push(chunk);
      };
      payload.on('data', take);
      payload.once('end', () => resolve(Buffer.concat(chunks)));
      // Without an end the request broke off; after one this says nothing.
      payload.once('error', () => fail(brokenOff()));
      payload.once('close', () => fail(brokenOff()));
    });
  }

  /** Until the reader has it. One that takes nothing of it for a while loses its connection: node:net looks whether a write gets on. */
  #hold({ raw }: FastifyReply, bytes: number): void {
    this.#answerBytes += bytes;
    // The server sets another one when the answer has left.
    raw.socket?.setTimeout(this.#answerIdleMs);
    raw.once('close', () => {
      this.#answerBytes -= bytes;
    });
  }
}

const tooLarge = (): ApiError => new ApiError('too-large', 'The body is larger than the limit of this address.');
const tooMuch = (): ApiError =>
  new ApiError('unavailable', 'Too much is being sent at once: nothing was changed, send it again in a moment.');
const brokenOff = (): ApiError => new ApiError('bad-request', 'The body broke off.');
