/** What can happen to a trust bundle: values in, a new bundle out, or the same one when nothing changes. */
import type { TrustBundle, TrustRoot } from '../../model/identity.ts';

export type BundleEdit = (bundle: TrustBundle) => TrustBundle;

export const emptyBundle = (trustDomain: string): TrustBundle => ({
  kind: 'TrustBundle',
  trustDomain,
  roots: [],
  requiresJoinToken: false,
});

/** A root that leaves and is wanted again stays. */
export const addingRoot =
  (
    { sha256, certificatePem }: { readonly sha256: string; readonly certificatePem: string },
    nowMs: number,
  ): BundleEdit =>
  (bundle) => {
    const known = bundle.roots.find((root) => root.sha256 === sha256);
    if (known === undefined) {
      const root: TrustRoot = { sha256, pem: certificatePem, addedAt: formatTime(nowMs), retiresAt: null };
      return { ...bundle, roots: [...bundle.roots, root] };
    }
    if (known.retiresAt === null) return bundle;
    return { ...bundle, roots: bundle.roots.map((root) => (root === known ? { ...root, retiresAt: null } : root)) };
  };

/** Those of the roots that stay so far leave at this time. */
export const retiringRoots =
  (isLeaving: (root: TrustRoot) => boolean, retiresAtMs: number): BundleEdit =>
  (bundle) => {
    const leaves = (root: TrustRoot) => root.retiresAt === null && isLeaving(root);
    if (!bundle.roots.some(leaves)) return bundle;
    const retiresAt = formatTime(retiresAtMs);
    return { ...bundle, roots: bundle.roots.map((root) => (leaves(root) ? { ...root, retiresAt } : root)) };
  };

/** Roots whose time has come are gone. */
export const withoutRetired =
  (nowMs: number): BundleEdit =>
  (bundle) => {
    const roots = bundle.roots.filter((root) => retiresAtMsOf(root) > nowMs);
    return roots.length === bundle.roots.length ? bundle : { ...bundle, roots };
  };

export const requiringJoinToken: BundleEdit = (bundle) =>
  bundle.requiresJoinToken ? bundle : { ...bundle, requiresJoinToken: true };

/** Infinity: it stays. */
export const retiresAtMsOf = ({ retiresAt }: TrustRoot): number =>
  retiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(retiresAt);

const formatTime = (ms: number): string => new Date(ms).toISOString();
