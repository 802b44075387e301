//! What the cases of the sample are about, in Chinese and English.

/// A kind of fraud: its category, titles, and the kinds of evidence that it leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    pub(super) category: &'static str,
    pub(super) zh: &'static [&'static str],
    pub(super) en: &'static [&'static str],
    pub(super) kinds: &'static [&'static str],
}

pub(super) const TASK_REBATE: Story = Story {
    category: "task-rebate",
    zh: &[
        "受害人做刷单任务后无法提现",
        "兼职群内垫付返利被骗",
        "点赞返佣诱导大额充值",
    ],
    en: &[
        "Paid for task orders, payout refused",
        "Part-time rebate group took a deposit",
    ],
    kinds: &["phone", "bank-card", "wechat", "qq", "domain", "app"],
};

pub(super) const IMPERSONATION: Story = Story {
    category: "impersonation",
    zh: &[
        "冒充公检法要求转账至安全账户",
        "冒充客服以退款为由骗取验证码",
        "冒充领导要求代付货款",
    ],
    en: &[
        "Caller posed as police, asked for a safe-account transfer",
        "Fake refund agent took a code",
    ],
    kinds: &["phone", "bank-card", "person", "resident-id", "imei", "qq"],
};

pub(super) const INVESTMENT: Story = Story {
    category: "investment",
    zh: &[
        "网友推荐虚假投资平台",
        "虚拟币带单群诱导转币",
        "婚恋网友诱导投资数字货币",
    ],
    en: &[
        "Online acquaintance led to a fake trading site",
        "Tokens sent to a liquidity pool that was not one",
    ],
    kinds: &["wallet", "url", "domain", "email", "wechat", "ip"],
};

const STORIES: [Story; 6] = [
    TASK_REBATE,
    IMPERSONATION,
    INVESTMENT,
    Story {
        category: "loan",
        zh: &["网上贷款先交解冻费", "贷款平台以银行卡号填错为由收取保证金"],
        en: &[
            "Loan released only after an unfreezing fee",
            "Advance fee for a loan that never came",
        ],
        kinds: &["phone", "bank-card", "app", "url", "resident-id", "person"],
    },
    Story {
        category: "shopping",
        zh: &["二手平台付款后不发货", "低价购机付款后被拉黑"],
        en: &[
            "Goods paid for and never sent",
            "Seller vanished after a deposit",
        ],
        kinds: &["phone", "wechat", "bank-card", "plate", "domain"],
    },
    Story {
        category: "gaming",
        zh: &["游戏账号交易平台收取解冻金", "买卖游戏装备被骗"],
        en: &["Game account sale frozen until a fee was paid"],
        kinds: &["qq", "wechat", "url", "ip", "email", "imei"],
    },
];

/// The stories that unplanted cases are drawn from.
pub(super) fn all() -> &'static [Story] {
    &STORIES
}
