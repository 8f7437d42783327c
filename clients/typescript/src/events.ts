// Written by `python -m bridge export typescript`. Do not edit: write it anew.

/** Any JSON value; where a payload has one, what is in it is the publisher's affair. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** `quota.updated`: Limits or usage changed; only the newest state counts, and it counts however late it comes. */
export interface QuotaUpdated {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
}

/** `quota.exceeded`: The user tried to use more than the quota allows, and must learn why it failed. */
export interface QuotaExceeded {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** Usage as a percentage of the limit; past 100 when exceeded. */
  usagePercent: number;
}

/** `quota.renewed`: A new period began; rare, and paid for. */
export interface QuotaRenewed {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** When the new period ends. */
  validUntil: string;
}

/** `quota.alert`: Usage came near the limit; a newer alert of the same quota says all that the older one did. */
export interface QuotaAlert {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** How serious it is, such as `warning` or `critical`. */
  level?: string;
  /** The mark that usage passed, in percent. */
  threshold?: number;
  /** Usage as a percentage of the limit. */
  usagePercent?: number;
  /** The alert in words. */
  message?: string;
}

/** `quota.metrics`: A regular measurement of usage. */
export interface QuotaMetrics {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** Further measurements. */
  metrics?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** Usage as a percentage of the limit. */
  usagePercent?: number;
}

/** `quota.deduct`: A part of the quota was taken into use; a trail, whose sum `quota.updated` tells. */
export interface QuotaDeduct {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** The kind of resource, such as `devices`. */
  resource?: string;
  /** How much of the resource, or how much of each kind. */
  amount?: number | {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What it was for. */
  reason?: string;
}

/** `quota.restore`: A part of the quota was given back; a trail, whose sum `quota.updated` tells. */
export interface QuotaRestore {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** The kind of resource, such as `devices`. */
  resource?: string;
  /** How much of the resource, or how much of each kind. */
  amount?: number | {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What it was for. */
  reason?: string;
}

/** `quota.check`: The quota was checked before a use; the answer holds only for that moment. */
export interface QuotaCheck {
  /** The user the event belongs to. */
  userId: string;
  /** The quota concerned. */
  quotaId: string;
  /** What the user may use at most. */
  limits?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What the user uses now. */
  usage?: {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** The kind of resource, such as `devices`. */
  resource?: string;
  /** How much of the resource, or how much of each kind. */
  amount?: number | {
    /** Number of devices. */
    devices?: number;
    [key: string]: number | undefined;
  };
  /** What it was for. */
  reason?: string;
  /** Whether the use was within the quota. */
  allowed?: boolean;
}

/** `device.status.changed`: A device's status changed; derived from the events of the table above, or published as it is. */
export interface DeviceStatusChanged {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status now. */
  status: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
  /** The event type that changed the status. */
  cause?: string;
}

/** `device.created`: A device was created. */
export interface DeviceCreated {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.started`: A device was started. */
export interface DeviceStarted {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.stopped`: A device was stopped. */
export interface DeviceStopped {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.deleted`: A device was deleted. */
export interface DeviceDeleted {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.error`: A device has an error that it may recover from; a flapping device must not close its user's socket. */
export interface DeviceError {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.recovered`: A device runs again after an error. */
export interface DeviceRecovered {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.cleaned`: A device's resources were cleaned up: what the page shows of it is no longer true. */
export interface DeviceCleaned {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.recovery_success`: An attempt to recover a device succeeded. */
export interface DeviceRecoverySuccess {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.recovery_failed`: An attempt to recover a device failed; another may follow. */
export interface DeviceRecoveryFailed {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.permanent_failure`: A device is lost and its user has to act; it comes once per device. */
export interface DevicePermanentFailure {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
}

/** `device.backup_completed`: A backup of a device was completed. */
export interface DeviceBackupCompleted {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
  /** The backup. */
  backupId?: string;
  /** The backup's size in bytes. */
  sizeBytes?: number;
}

/** `device.expiration_warning`: A device is about to expire; a newer warning replaces the older one. */
export interface DeviceExpirationWarning {
  /** The user the event belongs to. */
  userId: string;
  /** The device concerned. */
  deviceId: string;
  /** The device's name, for people. */
  deviceName?: string;
  /** The device's status after the event. */
  status?: string;
  /** The device's status before the event. */
  previousStatus?: string;
  /** Why it happened. */
  reason?: string;
  /** The error's code, if there was one. */
  errorCode?: string | number;
  /** What happened, in words. */
  message?: string;
  /** When the device expires. */
  expiresAt?: string;
  /** Whole days until then. */
  daysRemaining?: number;
}

/** `order.completed`: An order was paid for and carried out. */
export interface OrderCompleted {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId: string;
  /** The payment concerned. */
  paymentId?: string;
  /** The amount, in units of the currency. */
  amount?: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
}

/** `order.cancelled`: An order was cancelled; it may never have had a payment. */
export interface OrderCancelled {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId: string;
  /** The payment concerned. */
  paymentId?: string;
  /** The amount, in units of the currency. */
  amount?: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
  /** Why it was cancelled. */
  reason?: string;
}

/** `billing.payment_success`: A payment was received; it may belong to no order, such as one into an account. */
export interface BillingPaymentSuccess {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId?: string;
  /** The payment concerned. */
  paymentId: string;
  /** The amount received, in units of the currency. */
  amount: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
}

/** `billing.payment_failed`: A payment was refused or broken off. */
export interface BillingPaymentFailed {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId?: string;
  /** The payment concerned. */
  paymentId: string;
  /** The amount, in units of the currency. */
  amount?: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
  /** Why it failed, in words. */
  reason?: string;
  /** Why it failed, as the provider's code. */
  errorCode?: string | number;
}

/** `billing.refund_completed`: Money was paid back, for a payment or for a whole order. */
export interface BillingRefundCompleted {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId?: string;
  /** The payment concerned. */
  paymentId?: string;
  /** The amount paid back, in units of the currency. */
  amount: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
  /** The refund. */
  refundId?: string;
  /** Why it was paid back. */
  reason?: string;
}

/** `billing.invoice_generated`: An invoice is ready. */
export interface BillingInvoiceGenerated {
  /** The user the event belongs to. */
  userId: string;
  /** The order concerned. */
  orderId?: string;
  /** The payment concerned. */
  paymentId?: string;
  /** The amount, in units of the currency. */
  amount?: string;
  /** The currency, such as the ISO 4217 code `EUR`. */
  currency?: string;
  /** The invoice. */
  invoiceId?: string;
}

/** `app.installed`: An app was installed on a device. */
export interface AppInstalled {
  /** The user the event belongs to. */
  userId: string;
  /** The app concerned. */
  appId: string;
  /** The device that the app is on. */
  deviceId: string;
  /** The app's name, for people. */
  appName?: string;
  /** The app's version. */
  version?: string | number;
}

/** `app.uninstalled`: An app was removed from a device. */
export interface AppUninstalled {
  /** The user the event belongs to. */
  userId: string;
  /** The app concerned. */
  appId: string;
  /** The device that the app is on. */
  deviceId: string;
  /** The app's name, for people. */
  appName?: string;
  /** The app's version. */
  version?: string | number;
}

/** `app.updated`: An app on a device was brought to another version. */
export interface AppUpdated {
  /** The user the event belongs to. */
  userId: string;
  /** The app concerned. */
  appId: string;
  /** The device that the app is on. */
  deviceId: string;
  /** The app's name, for people. */
  appName?: string;
  /** The app's version. */
  version?: string | number;
  /** The version before. */
  previousVersion?: string | number;
}

/** `app.install_failed`: An installation failed: the user waits for it and would wait for ever. */
export interface AppInstallFailed {
  /** The user the event belongs to. */
  userId: string;
  /** The app concerned. */
  appId: string;
  /** The device that the app is on. */
  deviceId: string;
  /** The app's name, for people. */
  appName?: string;
  /** The app's version. */
  version?: string | number;
  /** Why it failed, in words; read from `failureReason` too. */
  reason?: string;
  /** Why it failed, as a code. */
  errorCode?: string | number;
}

/** `app.install_progress`: How far an installation is: a gauge, worthless once the installation must be over. */
export interface AppInstallProgress {
  /** The user the event belongs to. */
  userId: string;
  /** The app concerned. */
  appId: string;
  /** The device that the app is on. */
  deviceId: string;
  /** The app's name, for people. */
  appName?: string;
  /** The app's version. */
  version?: string | number;
  /** How much is done, 0 to 100; read from `progress` and `progressPercent` too. */
  percent: number;
  /** What is being done, such as `downloading`. */
  stage?: string;
}

/** `proxy.pool_changed`: A pool's state changed; only its newest state counts, and it counts however late it comes. */
export interface ProxyPoolChanged {
  /** The user concerned, if there is one. */
  userId?: string;
  /** The pool concerned. */
  poolId: string;
  /** The pool's state now. */
  state?: string;
  /** The pool's state before. */
  previousState?: string;
  /** Numbers of proxies, by what they do. */
  counts?: {
    [key: string]: number;
  };
  /** Why it changed. */
  reason?: string;
}

/** `sms.receive_stats`: How many messages were received in a period; the next figures replace these within the hour. */
export interface SmsReceiveStats {
  /** The user concerned, if there is one. */
  userId?: string;
  /** The kind of period, such as `hour`. */
  period?: string;
  /** When the period began. */
  periodStart?: string;
  /** When the period ended. */
  periodEnd?: string;
  /** Numbers of messages, by what became of them. */
  counts?: {
    [key: string]: number;
  };
}

/** `media.recording_changed`: A recording came to another state. */
export interface MediaRecordingChanged {
  /** The user the event belongs to. */
  userId: string;
  /** The recording or film concerned. */
  mediaId: string;
  /** Why it came to this state, such as an error. */
  reason?: string;
  /** The recording's state now. */
  state: "pending" | "starting" | "recording" | "paused" | "stopped" | "completed" | "failed" | "cancelled";
}

/** `media.transcoding_changed`: A transcoding came to another state. */
export interface MediaTranscodingChanged {
  /** The user the event belongs to. */
  userId: string;
  /** The recording or film concerned. */
  mediaId: string;
  /** Why it came to this state, such as an error. */
  reason?: string;
  /** The transcoding's state now. */
  state: "pending" | "queued" | "processing" | "completed" | "failed" | "cancelled";
  /** How much is done, 0 to 100. */
  percent?: number;
}

/** `wallet.deposit_completed`: A deposit was confirmed and booked. */
export interface WalletDepositCompleted {
  /** The user the event belongs to. */
  userId: string;
  /** The transaction concerned. */
  transactionId: string;
  /** The transaction's amount, in units of the wallet's currency. */
  amount: string;
  /** What happened, in words for the page. */
  message: string;
  /** The wallet's balance after the deposit, in units of its currency. */
  newBalance: string;
  /** The payment provider's name for the transaction. */
  providerTransactionId?: string;
}

/** `wallet.payment_status_updated`: A transaction came to another status. */
export interface WalletPaymentStatusUpdated {
  /** The user the event belongs to. */
  userId: string;
  /** The transaction concerned. */
  transactionId: string;
  /** The transaction's amount, in units of the wallet's currency. */
  amount: string;
  /** What happened, in words for the page. */
  message: string;
  /** The transaction's status now. */
  status: "pending" | "completed" | "failed" | "cancelled";
  /** The kind of transaction, such as `deposit` or `withdrawal`. */
  transactionType: string;
  /** Whatever the wallet adds, for the page. */
  metadata?: {
    [key: string]: JsonValue;
  };
}

/** `wallet.withdrawal_completed`: A withdrawal was paid out and booked. */
export interface WalletWithdrawalCompleted {
  /** The user the event belongs to. */
  userId: string;
  /** The transaction concerned. */
  transactionId: string;
  /** The transaction's amount, in units of the wallet's currency. */
  amount: string;
  /** What happened, in words for the page. */
  message: string;
  /** The wallet's balance after the withdrawal, in units of its currency. */
  newBalance: string;
}

/** `subscription.updated`: A subscription began, changed or ended: what the user may see depends on it. */
export interface SubscriptionUpdated {
  /** The user the event belongs to. */
  userId: string;
  /** The subscription concerned. */
  subscriptionId?: string;
  /** Whose content is subscribed to. */
  creatorId?: string;
  /** The subscription's status now. */
  status?: string;
  /** The plan subscribed to. */
  plan?: string;
  /** When the subscription ends. */
  expiresAt?: string;
}

/** `post.purchased`: A post was bought, and may be shown to its buyer. */
export interface PostPurchased {
  /** The user the event belongs to. */
  userId: string;
  /** The post bought. */
  postId?: string;
  /** The purchase. */
  purchaseId?: string;
  /** Whose post it is. */
  creatorId?: string;
  /** The price paid, in units of the currency. */
  amount?: string;
  /** The currency, such as the ISO 4217 code `USD`. */
  currency?: string;
}

/** `whatsapp.qr`: A QR code to scan, good for 20 seconds. */
export interface WhatsappQr {
  /** The user concerned, if there is one. */
  userId?: string;
  /** The company concerned. */
  companyId: string;
  /** What the code says, or its image as a data URL. */
  qr: string;
}

/** `whatsapp.connection`: The state of a company's connection; the newest counts, however late it comes. */
export interface WhatsappConnection {
  /** The user concerned, if there is one. */
  userId?: string;
  /** The company concerned. */
  companyId: string;
  /** The connection's state, such as `connecting` or `connected`. */
  status: string;
}

/** Each event type with the versions and payloads that it may have. */
export interface Events {
  "quota.updated": { version: 1; data: QuotaUpdated };
  "quota.exceeded": { version: 1; data: QuotaExceeded };
  "quota.renewed": { version: 1; data: QuotaRenewed };
  "quota.alert": { version: 1; data: QuotaAlert };
  "quota.metrics": { version: 1; data: QuotaMetrics };
  "quota.deduct": { version: 1; data: QuotaDeduct };
  "quota.restore": { version: 1; data: QuotaRestore };
  "quota.check": { version: 1; data: QuotaCheck };
  "device.status.changed": { version: 1; data: DeviceStatusChanged };
  "device.created": { version: 1; data: DeviceCreated };
  "device.started": { version: 1; data: DeviceStarted };
  "device.stopped": { version: 1; data: DeviceStopped };
  "device.deleted": { version: 1; data: DeviceDeleted };
  "device.error": { version: 1; data: DeviceError };
  "device.recovered": { version: 1; data: DeviceRecovered };
  "device.cleaned": { version: 1; data: DeviceCleaned };
  "device.recovery_success": { version: 1; data: DeviceRecoverySuccess };
  "device.recovery_failed": { version: 1; data: DeviceRecoveryFailed };
  "device.permanent_failure": { version: 1; data: DevicePermanentFailure };
  "device.backup_completed": { version: 1; data: DeviceBackupCompleted };
  "device.expiration_warning": { version: 1; data: DeviceExpirationWarning };
  "order.completed": { version: 1; data: OrderCompleted };
  "order.cancelled": { version: 1; data: OrderCancelled };
  "billing.payment_success": { version: 1; data: BillingPaymentSuccess };
  "billing.payment_failed": { version: 1; data: BillingPaymentFailed };
  "billing.refund_completed": { version: 1; data: BillingRefundCompleted };
  "billing.invoice_generated": { version: 1; data: BillingInvoiceGenerated };
  "app.installed": { version: 1; data: AppInstalled };
  "app.uninstalled": { version: 1; data: AppUninstalled };
  "app.updated": { version: 1; data: AppUpdated };
  "app.install_failed": { version: 1; data: AppInstallFailed };
  "app.install_progress": { version: 1; data: AppInstallProgress };
  "proxy.pool_changed": { version: 1; data: ProxyPoolChanged };
  "sms.receive_stats": { version: 1; data: SmsReceiveStats };
  "media.recording_changed": { version: 1; data: MediaRecordingChanged };
  "media.transcoding_changed": { version: 1; data: MediaTranscodingChanged };
  "wallet.deposit_completed": { version: 1; data: WalletDepositCompleted };
  "wallet.payment_status_updated": { version: 1; data: WalletPaymentStatusUpdated };
  "wallet.withdrawal_completed": { version: 1; data: WalletWithdrawalCompleted };
  "subscription.updated": { version: 1; data: SubscriptionUpdated };
  "post.purchased": { version: 1; data: PostPurchased };
  "whatsapp.qr": { version: 1; data: WhatsappQr };
  "whatsapp.connection": { version: 1; data: WhatsappConnection };
}
