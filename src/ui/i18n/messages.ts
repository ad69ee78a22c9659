import type { en as developer } from "../messages/developer/en";
import type { en } from "../messages/en";

/** The forms of a plural, as Intl.PluralRules names them. */
type PluralForm = "zero" | "one" | "two" | "few" | "many" | "other";
type Base<K extends string> = K extends `${infer B}_${PluralForm}` ? B : K;

/** The shape of English for another language, which may have other forms of a plural. */
type Shape<T> = T extends string
  ? string
  : { [K in keyof T as K extends `${string}_${PluralForm}` ? never : K]: Shape<T[K]> } & {
      [K in Extract<keyof T, `${string}_${PluralForm}`> as `${Base<K>}_other`]: string;
    } & {
      [K in Extract<keyof T, `${string}_${PluralForm}`> as `${Base<K>}_${PluralForm}`]?: string;
    };

export type Messages = Shape<typeof en>;
export type DeveloperMessages = Shape<typeof developer>;
